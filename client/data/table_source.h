#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/data/data_source.h"
#include "client/data/manifest.h"
#include "client/data/patient_split.h"
#include "client/data/table_encoder.h"

namespace fedgraft {

struct TableOptions {
  std::string path;
  ManifestColumns columns;  // without an image
  SplitFractions fractions;
  TableSchema schema;
};

// Feature vectors from the rows of a CSV file; labels, patients and splits as
// in a manifest (manifest.h).
//
// MissingPolicy::kMean takes the mean of the training rows. A table that is
// read for prediction has them only if it has the split column and rows of
// `train`; FAILED_PRECONDITION if a cell is missing and they are not there, or
// if no training row has a value.
absl::StatusOr<std::unique_ptr<DataSource>> OpenTableSource(
    const TableOptions& options, const DataContext& context);

}  // namespace fedgraft
