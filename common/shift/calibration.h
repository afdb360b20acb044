#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/transfer/matrix_view.h"

namespace fedgraft {

// Bias-corrected temperature scaling: softmax(logits / temperature + bias).
// Alexandari, Kundaje and Shrikumar, "Maximum Likelihood with Bias-Corrected
// Calibration is Hard-To-Beat at Label Shift Adaptation", 2020.
struct Calibration {
  double temperature = 1;
  std::vector<double> bias;                // [C], adds up to 0
  double loss_before = 0, loss_after = 0;  // mean cross-entropy, nats
};

// The one of least cross-entropy on held-out records: `logits` [n, C],
// `labels` [n] in 0..C-1. Convex in 1 / temperature and bias; by Newton's
// method, with a weak pull (kRidge a record) towards no change so that
// separable records have a solution too. INVALID_ARGUMENT: sizes, values,
// labels outside. FAILED_PRECONDITION: logits that speak against the labels,
// so that no temperature above 0 helps.
inline constexpr double kCalibrationRidge = 1e-4;
absl::StatusOr<Calibration> FitCalibration(const MatrixView& logits,
                                           absl::Span<const int64_t> labels);

// [n, C]. INVALID_ARGUMENT: sizes that differ, not finite.
absl::StatusOr<std::vector<double>> CalibratedPosteriors(
    const MatrixView& logits, const Calibration& calibration);

}  // namespace fedgraft
