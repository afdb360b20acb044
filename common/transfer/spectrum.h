#pragma once

#include <Eigen/Core>
#include <cstdint>

#include "absl/status/statusor.h"

// For the .cc files of this folder.

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

// INTERNAL: the iteration did not converge (finite input: never seen).
absl::StatusOr<Spectrum> SpectrumOf(const Eigen::MatrixXd& matrix);

}  // namespace fedgraft
