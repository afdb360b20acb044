#include "common/privacy/distributed_gaussian.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "common/base/check.h"

namespace fedgraft {

double DistributedGaussianTau(double sigma2, int contributions) {
  constexpr double kTwoPiSquared = 2 * std::numbers::pi * std::numbers::pi;
  double tau = 0;
  for (int k = 1; k < contributions; ++k) {
    tau += std::exp(-kTwoPiSquared * sigma2 * k / (k + 1.0));
  }
  return 10 * tau;
}

double DistributedGaussianRdp(const DistributedGaussian& sum, double order) {
  FG_CHECK(sum.norm2_max > 0 && sum.sigma2 > 0 && sum.dimension > 0 &&
           sum.contributions > 0 && order > 1);
  const double l2 = std::sqrt(sum.norm2_max);
  // Components are integers, so none is larger than its square.
  const double l1 = std::min(std::sqrt(sum.dimension) * l2, sum.norm2_max);
  const double variance = sum.contributions * sum.sigma2;
  const double tau = DistributedGaussianTau(sum.sigma2, sum.contributions);
  const double ratio = sum.norm2_max / variance;
  const double first = order / 2 * ratio + tau * sum.dimension;
  const double second =
      order / 2 *
      (ratio + 2 * l1 * tau / std::sqrt(variance) + tau * tau * sum.dimension);
  const double root = std::sqrt(ratio) + std::sqrt(sum.dimension) * tau;
  const double third = order / 2 * root * root;
  return std::min({first, second, third});
}

}  // namespace fedgraft
