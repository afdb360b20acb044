#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/transfer/matrix_view.h"

namespace fedgraft {

// How two r-dimensional subspaces of d dimensions lie to each other.
struct SubspaceAlignment {
  // Principal angles, rising, in radians, and their cosines [r]. Björck and
  // Golub, "Numerical Methods for Computing Angles Between Linear Subspaces",
  // 1973.
  std::vector<double> angles, cosines;
  double mean_cos2 = 0;  // 0 (orthogonal) to 1 (equal)
  double chordal = 0;    // √(r - Σ cos²)
  // Of mean_cos2 if one of the two were drawn at random (uniform over all
  // subspaces), and how many deviations above that it lies.
  double null_mean = 0, null_deviation = 0, z = 0;
};

// Between the spans of the first `rank` eigenvectors of two covariance
// matrices [d, d]. INVALID_ARGUMENT: not square, of different sizes, not
// finite, not symmetric, or rank outside 1..d-1. FAILED_PRECONDITION: a matrix
// has fewer than `rank` directions of any variance, or equal variance in
// directions number rank and rank + 1, so that there is no such subspace.
absl::StatusOr<SubspaceAlignment> AlignSubspaces(const MatrixView& covariance_a,
                                                 const MatrixView& covariance_b,
                                                 int64_t rank);

}  // namespace fedgraft
