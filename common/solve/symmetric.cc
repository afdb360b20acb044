#include "common/solve/symmetric.h"

#include <algorithm>

#include "common/base/check.h"

namespace fedgraft {

Eigen::MatrixXd SolvePositive(const Eigen::MatrixXd& a,
                              const Eigen::MatrixXd& b) {
  Eigen::LLT<Eigen::MatrixXd> factor(a);
  const double largest = std::max(a.diagonal().cwiseAbs().maxCoeff(), 1e-300);
  for (double damping = 1e-12; factor.info() != Eigen::Success; damping *= 10) {
    FG_CHECK(damping < 1e6);
    Eigen::MatrixXd damped = a;
    damped.diagonal().array() += damping * largest;
    factor.compute(damped);
  }
  return factor.solve(b);
}

}  // namespace fedgraft
