#pragma once

#include <Eigen/Core>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

// For the .cc files of this folder (the only header here that shows Eigen).

namespace fedgraft {

// Of a symmetric positive semidefinite matrix.
struct Spectrum {
  Eigen::VectorXd values;   // falling, not negative
  Eigen::MatrixXd vectors;  // columns, in that order
  // Values above kRankTolerance times the largest; the others are 0.
  int64_t rank = 0;
};

// Sums of squares of 32-bit features: smaller eigenvalues are their rounding.
inline constexpr double kRankTolerance = 1e-13;

// Upper triangle, row by row, to the whole matrix.
Eigen::MatrixXd UnpackSymmetric(absl::Span<const double> packed, int64_t dim);

// INTERNAL: the iteration did not converge (finite input: never seen).
absl::StatusOr<Spectrum> SpectrumOf(const Eigen::MatrixXd& matrix);

}  // namespace fedgraft
