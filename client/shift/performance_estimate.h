#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "common/transfer/matrix_view.h"

namespace fedgraft {

// How well a model does on records without labels, if its probabilities are
// calibrated there (confidence-based performance estimation): a record counts
// as of every class, by that class's probability. Calibrate first
// (common/shift/calibration.h), and undo label shift (label_shift.h); under
// concept shift the estimate is wrong, and nothing without labels could tell.
struct PerformanceEstimate {
  double accuracy = 0;
  // Of the accuracy, from the chance of the labels that were not seen.
  double accuracy_deviation = 0;
  double balanced_accuracy = 0;
  double auc = 0;  // two classes; NaN for more
};

// `posteriors` [n, C]; `outputs` [n, C], by which the model decides and ranks.
// INVALID_ARGUMENT: sizes, rows that are no probabilities. FAILED_PRECONDITION:
// a class that no record is expected to be of.
absl::StatusOr<PerformanceEstimate> EstimatePerformance(
    const MatrixView& posteriors, const MatrixView& outputs);
// For a model whose outputs are the posteriors.
absl::StatusOr<PerformanceEstimate> EstimatePerformance(
    const MatrixView& posteriors);

}  // namespace fedgraft
