#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "absl/status/statusor.h"
#include "client/shift/source_outputs.h"
#include "common/transfer/matrix_view.h"

namespace fedgraft {

// How common each class is among records without labels.
struct TargetPrior {
  std::vector<double> prior;      // [C], adds up to 1, above 0
  std::vector<double> low, high;  // 95 %
};

// By EM on calibrated outputs (common/shift/label_shift.h), if p(x | y) is that
// of the source. Half a record is added to each class, so that a class that no
// record speaks for stays possible. The interval has two parts: the chance of
// the records, from the information of the likelihood, and that of the
// calibration, from kPriorResamples bootstrap samples of `validation`, the
// records that `source` was calibrated on (none: that part is left out).
// Errors as of EstimatePriorEm and SourceOutputs::Posteriors.
inline constexpr int kPriorResamples = 100;
absl::StatusOr<TargetPrior> EstimateTargetPrior(
    const MatrixView& outputs, const SourceOutputs& source,
    const LabelledOutputs& validation, uint64_t seed);

// The estimated shares of `records` records with half a record added to each
// class.
std::vector<double> Smoothed(const std::vector<double>& prior, int64_t records);

// The source that records of `validation`, drawn with replacement, calibrate.
// FAILED_PRECONDITION: too few of a class were drawn.
absl::StatusOr<SourceOutputs> CalibrateOnADraw(
    const LabelledOutputs& validation, std::mt19937_64& random);

// Every k-th row, with the least k that leaves at most `rows_max`.
std::vector<double> ThinRows(const MatrixView& matrix, int64_t rows_max);

}  // namespace fedgraft
