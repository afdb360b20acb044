#include "client/shift/target_prior.h"

#include <algorithm>
#include <cmath>

#include "common/base/status_macros.h"
#include "common/shift/label_shift.h"

namespace fedgraft {
namespace {

constexpr double kQuantile = 1.959963984540054;  // 95 %, two-sided
// Enough to see how the calibration moves the estimate.
constexpr int64_t kThinnedRowsMax = 2000;

absl::StatusOr<PriorEstimate> Estimate(const MatrixView& outputs,
                                       const SourceOutputs& source) {
  FG_ASSIGN_OR_RETURN(const std::vector<double> posteriors,
                      source.Posteriors(outputs));
  return EstimatePriorEm({posteriors, outputs.rows, outputs.columns},
                         source.prior());
}

// Variance of the estimate over calibrations, [C].
std::vector<double> CalibrationVariance(const MatrixView& outputs,
                                        const LabelledOutputs& validation,
                                        uint64_t seed) {
  const auto classes = static_cast<size_t>(outputs.columns);
  std::vector<double> sum(classes), squares(classes), variance(classes);
  std::mt19937_64 random(seed);
  double draws = 0;
  for (int b = 0; b < kPriorResamples; ++b) {
    const auto source = CalibrateOnADraw(validation, random);
    if (!source.ok()) continue;
    const auto estimate = Estimate(outputs, *source);
    if (!estimate.ok()) continue;
    ++draws;
    for (size_t c = 0; c < classes; ++c) {
      sum[c] += estimate->prior[c];
      squares[c] += estimate->prior[c] * estimate->prior[c];
    }
  }
  if (draws < 2) return variance;
  for (size_t c = 0; c < classes; ++c) {
    const double mean = sum[c] / draws;
    variance[c] =
        std::max(squares[c] / draws - mean * mean, 0.0) * draws / (draws - 1);
  }
  return variance;
}

}  // namespace

std::vector<double> Smoothed(const std::vector<double>& prior,
                             int64_t records) {
  const auto n = static_cast<double>(records);
  const auto classes = static_cast<double>(prior.size());
  std::vector<double> smoothed;
  for (double share : prior) {
    smoothed.push_back((n * share + 0.5) / (n + 0.5 * classes));
  }
  return smoothed;
}

absl::StatusOr<SourceOutputs> CalibrateOnADraw(
    const LabelledOutputs& validation, std::mt19937_64& random) {
  std::vector<int64_t> drawn(validation.labels.size());
  for (int64_t& record : drawn) {
    record = static_cast<int64_t>(random() % validation.labels.size());
  }
  const ResampledOutputs resampled(validation, drawn);
  return SourceOutputs::Calibrate(resampled.View());
}

std::vector<double> ThinRows(const MatrixView& matrix, int64_t rows_max) {
  const int64_t step = (matrix.rows + rows_max - 1) / rows_max;
  std::vector<double> rows;
  for (int64_t r = 0; r < matrix.rows; r += std::max<int64_t>(step, 1)) {
    const absl::Span<const double> row = matrix.Row(r);
    rows.insert(rows.end(), row.begin(), row.end());
  }
  return rows;
}

absl::StatusOr<TargetPrior> EstimateTargetPrior(
    const MatrixView& outputs, const SourceOutputs& source,
    const LabelledOutputs& validation, uint64_t seed) {
  FG_ASSIGN_OR_RETURN(const PriorEstimate estimate, Estimate(outputs, source));
  const int64_t classes = outputs.columns;
  std::vector<double> calibration(classes);
  if (validation.outputs.rows > 0) {
    const std::vector<double> thinned = ThinRows(outputs, kThinnedRowsMax);
    calibration = CalibrationVariance(
        {thinned, static_cast<int64_t>(thinned.size()) / classes, classes},
        validation, seed);
  }
  TargetPrior target;
  target.prior = Smoothed(estimate.prior, outputs.rows);
  const auto n = static_cast<double>(outputs.rows);
  for (int64_t c = 0; c < classes; ++c) {
    const double share = target.prior[c];
    // Not less than if the labels had been seen: at an edge the likelihood's
    // information says nothing. Where it is flat, nothing is known.
    const double seen = share * (1 - share) / n;
    const double chance =
        std::isfinite(estimate.deviation[c])
            ? std::max(estimate.deviation[c] * estimate.deviation[c], seen)
            : 1;
    const double half = kQuantile * std::sqrt(chance + calibration[c]);
    target.low.push_back(std::max(share - half, 0.0));
    target.high.push_back(std::min(share + half, 1.0));
  }
  return target;
}

}  // namespace fedgraft
