#pragma once

#include <Eigen/Dense>

namespace fedgraft {

// Solves a x = b for a symmetric positive semi-definite `a` by Cholesky; one
// that is not definite is damped by growing multiples of the identity until it
// is (Nocedal and Wright 2006, algorithm 3.3).
Eigen::MatrixXd SolvePositive(const Eigen::MatrixXd& a,
                              const Eigen::MatrixXd& b);

}  // namespace fedgraft
