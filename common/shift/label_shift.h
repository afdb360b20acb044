#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/transfer/matrix_view.h"

// Label shift: p(y) differs between source and target, p(x | y) does not. All
// of it from a classifier's outputs, without a label of the target.

namespace fedgraft {

struct PriorEstimate {
  std::vector<double> prior;  // [C], of the target; adds up to 1
  // Of the estimate, from the observed information of the mixture likelihood,
  // [C]; above 0 for a share of 0, too.
  std::vector<double> deviation;
  double log_likelihood_gain = 0;  // a record, over the source's prior
  int iterations = 0;
};

// Maximum likelihood by EM (Saerens, Latinne and Decaestecker, "Adjusting the
// outputs of a classifier to new a priori probabilities", 2002): the fixed
// point of q_c = mean_i p_c(x_i) q_c / s_c, normalised. `posteriors` [n, C] of
// the target, calibrated (see calibration.h); `source_prior` [C] should be the
// mean of the same classifier's outputs on held-out source records, not the
// label frequencies. INVALID_ARGUMENT: wrong sizes, rows that are no
// probabilities, a prior that is not above 0. ABORTED: no convergence in 10^4
// steps.
absl::StatusOr<PriorEstimate> EstimatePriorEm(
    const MatrixView& posteriors, absl::Span<const double> source_prior);

struct BlackBoxEstimate {
  std::vector<double> weights;  // [C], q_c / s_c, cut at 0
  std::vector<double> prior;    // [C]
  // Smallest singular value of the joint confusion matrix: errors grow with
  // its inverse.
  double sigma_min = 0;
};

// Black-box shift estimation (Lipton, Wang and Smola, "Detecting and Correcting
// for Label Shift with Black Box Predictors", 2018). `confusion` [C, C]: joint
// probability of prediction (row) and label (column) at the source;
// `predicted` [C]: of predictions at the target. FAILED_PRECONDITION:
// sigma_min below kSigmaMin, where the estimate would be noise.
inline constexpr double kSigmaMin = 0.05;
absl::StatusOr<BlackBoxEstimate> EstimatePriorBlackBox(
    const MatrixView& confusion, absl::Span<const double> predicted);

// p_t(c | x) ~ p_s(c | x) q_c / s_c, [n, C]. INVALID_ARGUMENT as above.
absl::StatusOr<std::vector<double>> CorrectPosteriors(
    const MatrixView& posteriors, absl::Span<const double> source_prior,
    absl::Span<const double> target_prior);

}  // namespace fedgraft
