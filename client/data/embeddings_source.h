#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/data/data_source.h"
#include "client/data/patient_split.h"

namespace fedgraft {

struct EmbeddingsOptions {
  std::string path;
  SplitFractions fractions;
};

// Feature vectors from one NumPy archive: for each split S of train, val, test
//   S_features  float16, float32 or float64; (N, D) with one D for all splits
//   S_labels    integers 0..C-1; (N) or (N, 1)
//   S_patient   optional integers; (N): keys of patients
// A missing split is empty; if both val and test are missing, the rows of train
// are split at random, by patient, with the fractions. For DataUse::kPredict
// the vectors are test_features, and test_labels may be missing.
//
// Held in memory as float32, at most 8 GiB a split.
absl::StatusOr<std::unique_ptr<DataSource>> OpenEmbeddingsSource(
    const EmbeddingsOptions& options, const DataContext& context);

}  // namespace fedgraft
