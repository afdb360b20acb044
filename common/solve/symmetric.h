#pragma once

#include <Eigen/Dense>
#include <cstdint>

#include "absl/types/span.h"

namespace fedgraft {

// A symmetric matrix from its packed upper triangle, row by row.
Eigen::MatrixXd Unpack(absl::Span<const double> packed, int64_t dim);

// Solves a x = b for a symmetric positive semi-definite `a` by Cholesky; one
// that is not definite is damped by growing multiples of the identity until it
// is (Nocedal and Wright 2006, algorithm 3.3).
Eigen::MatrixXd SolvePositive(const Eigen::MatrixXd& a,
                              const Eigen::MatrixXd& b);

}  // namespace fedgraft
