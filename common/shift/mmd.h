#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/transfer/matrix_view.h"

// Is a sample drawn from the distribution of a reference? From means of random
// Fourier features (random_features.h) alone: what the reference gives is a
// mean and a size, which other sites' sums add up to. The sample's own
// covariance stays where the sample is.

namespace fedgraft {

// Of a sample's image phi(x) under the feature map.
struct EmbeddingMoments {
  int64_t n = 0;
  std::vector<double> mean;      // [D]
  double covariance_trace = 0;   // tr C, C with n - 1 in the denominator
  double covariance_square = 0;  // tr C^2, without the bias of estimating C
  double covariance_cube = 0;    // tr C^3, the same (of a Wishart matrix)
};

// `mapped` [n, D] as RandomFeatures::Map gives it. INVALID_ARGUMENT: not
// finite, or fewer than kMmdRecordsMin records.
inline constexpr int64_t kMmdRecordsMin = 4;
absl::StatusOr<EmbeddingMoments> MomentsOfEmbedding(const MatrixView& mapped);

struct MmdTest {
  double statistic = 0;  // |mean - reference mean|^2
  // Unbiased estimate of the squared distance of the distributions: around 0,
  // and as often below, if they are equal. The effect size.
  double mmd2 = 0;
  // Under the null hypothesis statistic / scale is about chi-square with `dof`
  // (Welch-Satterthwaite; dof need not be whole).
  double scale = 0, dof = 0;
  double p = 1;
};

// `reference_mean` [D] over `reference_n` records that are not the sample's.
// INVALID_ARGUMENT: sizes that differ, not finite, or a reference of fewer than
// two records. FAILED_PRECONDITION: all records of the sample are equal.
absl::StatusOr<MmdTest> TestMmd(const EmbeddingMoments& sample,
                                absl::Span<const double> reference_mean,
                                double reference_n);

// p-value of the same statistic from three moments of its null distribution
// (Buckley and Eagleson, "An approximation to the distribution of quadratic
// forms in normal random variables", 1988). Two are enough at 5 %; far out in
// the tail, where corrections for many tests look, they reject three times too
// often. Errors as above.
absl::StatusOr<double> MmdTail(const EmbeddingMoments& sample,
                               const MmdTest& test, double reference_n);

// The mean of all records but the sample's own, from the pooled mean over
// `pooled_n` records. INVALID_ARGUMENT: sizes that differ, or no record left.
absl::StatusOr<std::vector<double>> LeaveOneOutMean(
    absl::Span<const double> pooled_mean, double pooled_n,
    absl::Span<const double> own_mean, double own_n);

}  // namespace fedgraft
