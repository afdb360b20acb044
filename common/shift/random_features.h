#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/transfer/matrix_view.h"

namespace fedgraft {

// Random Fourier features of the Gaussian kernel
//   k(x, y) = exp(-|x - y|^2 / 2 bandwidth^2) = E <phi(x), phi(y)>,
//   phi(x) = sqrt(2 / D) [cos(w_j x), sin(w_j x)]_{j = 1..D/2}
// (Rahimi and Recht, "Random Features for Large-Scale Kernel Machines", 2007).
// |phi(x)| = 1 exactly, so that the mean of phi over a sample and the sample's
// size are all that a kernel two-sample statistic needs. Sites that use the
// same seed have the same map. Immutable; thread-safe.
class RandomFeatures {
 public:
  static constexpr int64_t kSizeMax = 4096;

  // `size` D: even, 2 to kSizeMax. INVALID_ARGUMENT otherwise, or for a
  // dimension below 1 or a bandwidth that is not above 0.
  static absl::StatusOr<RandomFeatures> Create(int64_t feature_dim,
                                               int64_t size, double bandwidth,
                                               uint64_t seed);
  // The map of these frequencies [feature_dim, size / 2].
  static absl::StatusOr<RandomFeatures> FromFrequencies(
      const MatrixView& frequencies);

  int64_t feature_dim() const { return dim_; }
  int64_t size() const { return 2 * half_; }
  // phi of every record, [n, size]: the cosines, then the sines.
  // INVALID_ARGUMENT: other features than the map's, or not finite.
  absl::StatusOr<std::vector<double>> Map(const MatrixView& records) const;

 private:
  RandomFeatures(int64_t dim, int64_t half, std::vector<double> frequencies)
      : dim_(dim), half_(half), frequencies_(std::move(frequencies)) {}
  int64_t dim_;
  int64_t half_;
  std::vector<double> frequencies_;  // [dim, half]
};

// Median distance between records over sqrt(2): the bandwidth that is usual
// for a reference sample. Of at most `pairs_max` pairs, drawn by the seed.
// INVALID_ARGUMENT: fewer than two records or values that are not finite.
// FAILED_PRECONDITION: most records are equal.
absl::StatusOr<double> MedianBandwidth(const MatrixView& records, uint64_t seed,
                                       int64_t pairs_max = 10000);

}  // namespace fedgraft
