#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "client/train/activation_store.h"
#include "client/train/learner.h"
#include "common/transfer/matrix_view.h"

namespace fedgraft {

// Records as a model sees them, for comparisons.
struct DescribedRecords {
  int64_t count = 0, feature_dim = 0, classes = 0;
  std::vector<double> features;     // [n, feature_dim], what the head gets
  std::vector<double> outputs;      // [n, classes], probabilities
  std::vector<double> acquisition;  // [n, kAcquisitions]; empty: not images
  std::vector<int64_t> labels;      // [n]; -1: unknown

  MatrixView Features() const { return {features, count, feature_dim}; }
  MatrixView Outputs() const { return {outputs, count, classes}; }
  MatrixView Acquisition() const;
  // Without the records whose label is unknown.
  DescribedRecords Labelled() const;
};

// Of all records of a store, with the learner as it is; of none: all empty. May
// throw c10::Error.
absl::StatusOr<DescribedRecords> DescribeRecords(const ActivationStore& store,
                                                 Learner& learner,
                                                 const Compute& compute,
                                                 const ProgressSink& progress);

}  // namespace fedgraft
