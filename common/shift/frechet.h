#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/transfer/matrix_view.h"

namespace fedgraft {

// First two moments of a sample's features.
struct GaussianMoments {
  double n = 0;
  std::vector<double> mean;        // [d]
  std::vector<double> covariance;  // [d, d], n - 1 in the denominator
};

// INVALID_ARGUMENT: not finite, or fewer than two records.
absl::StatusOr<GaussianMoments> MomentsOfRecords(const MatrixView& records);

// |m - m'|^2 + tr(C + C' - 2 (C C')^1/2): the squared 2-Wasserstein distance of
// the normal distributions with these moments (Dowson and Landau 1982).
// INVALID_ARGUMENT: sizes that differ, not finite, or a covariance that is not
// positive semidefinite.
absl::StatusOr<double> FrechetDistance(const GaussianMoments& a,
                                       const GaussianMoments& b);

struct FrechetTest {
  double distance = 0;
  // Distance less what chance makes of two samples of these sizes from one
  // distribution, which for many features and few records is most of it.
  double debiased = 0;
  double z = 0;  // of the distance, against the bootstrap
  double p = 1;  // (1 + draws at least as far) / (1 + draws)
};

// Against `draws` parametric bootstrap pairs from the normal distribution of
// the pooled moments; never against a fixed threshold. FAILED_PRECONDITION:
// fewer records than 5 a feature on either side, below which the null is not
// to be trusted (project the features first).
absl::StatusOr<FrechetTest> TestFrechet(const GaussianMoments& site,
                                        const GaussianMoments& reference,
                                        uint64_t seed, int draws = 200);

}  // namespace fedgraft
