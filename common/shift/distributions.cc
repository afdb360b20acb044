#include "common/shift/distributions.h"

#include <algorithm>
#include <cmath>
#include <unsupported/Eigen/SpecialFunctions>

#include "common/base/check.h"

namespace fedgraft {
namespace {

constexpr double kDeviateMax = 38;

}  // namespace

double NormalTail(double z) { return std::erfc(z * std::sqrt(0.5)) / 2; }

double NormalQuantile(double p) {
  if (!(p > 0)) return -kDeviateMax;
  if (!(p < 1)) return kDeviateMax;
  double z = Eigen::numext::ndtri(p);
  // One step of Newton's method on the tail that is not near 1.
  const double density = std::exp(-z * z / 2) * 0.3989422804014327;
  if (density > 0) {
    const double error = z < 0 ? NormalTail(-z) - p : (1 - p) - NormalTail(z);
    z -= error / density;
  }
  return std::clamp(z, -kDeviateMax, kDeviateMax);
}

double ChiSquareTail(double x, double dof) {
  FG_CHECK(dof > 0);
  if (!(x > 0)) return 1;
  return Eigen::numext::igammac(dof / 2, x / 2);
}

double FisherTail(double x, double dof, double rest_dof) {
  FG_CHECK(dof > 0 && rest_dof > 0);
  if (!(x > 0)) return 1;
  return Eigen::numext::betainc(rest_dof / 2, dof / 2,
                                rest_dof / (rest_dof + dof * x));
}

double StudentCdf(double x, double dof) {
  FG_CHECK(dof > 0);
  const double tail =
      Eigen::numext::betainc(dof / 2, 0.5, dof / (dof + x * x)) / 2;
  return x > 0 ? 1 - tail : tail;
}

double DeviateOfPValue(double p) { return -NormalQuantile(p); }

}  // namespace fedgraft
