#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/data/data_source.h"
#include "client/data/manifest.h"
#include "client/data/patient_split.h"

namespace fedgraft {

struct FolderOptions {
  std::string path;  // the manifest
  std::string root;  // of the images; empty: the manifest's folder
  ManifestColumns columns;
  SplitFractions fractions;  // used if there is no split column
  uint64_t pixels_max = 100'000'000;
};

// DICOM, PNG, JPEG and TIFF files that a CSV manifest lists by paths below
// `root` (client/data/manifest.h). Without a split column, whole patients (or
// single images, if there is no patient column) are split by SplitByPatient.
//
// For DataUse::kPredict every listed image is in Split::kTest, and `path` may
// be a folder instead: then all .dcm, .png, .jpg, .jpeg, .tif and .tiff files
// below it are the images, in the order of their paths. So it may without
// classes; every image that has no split is then in Split::kTrain.
//
// Opening checks that every file is there and, links resolved, below `root`;
// INVALID_ARGUMENT and NOT_FOUND name manifest, line and column. Pixels are
// read by Load.
absl::StatusOr<std::unique_ptr<DataSource>> OpenFolderSource(
    const FolderOptions& options, const DataContext& context);

}  // namespace fedgraft
