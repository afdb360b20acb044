#include "common/privacy/epsilon.h"

#include <cmath>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/privacy/sampled_gaussian.h"

namespace fedgraft {
namespace {

constexpr double kNoiseMin = 1e-2;
constexpr double kNoiseMax = 1e6;
constexpr double kNoisePrecision = 1e-6;

std::vector<double> MakeOrders() {
  std::vector<double> orders;
  for (int tenths = 11; tenths < 110; ++tenths) orders.push_back(tenths / 10.0);
  for (int order = 12; order < 64; ++order) orders.push_back(order);
  return orders;
}

}  // namespace

absl::Span<const double> RdpOrders() {
  static const std::vector<double>& orders = *new std::vector(MakeOrders());
  return orders;
}

Epsilon EpsilonOfRdp(absl::Span<const double> orders,
                     absl::Span<const double> rdp, double delta) {
  FG_CHECK(orders.size() == rdp.size() && delta > 0 && delta < 1);
  Epsilon best{std::numeric_limits<double>::infinity(), 0};
  for (size_t i = 0; i < orders.size(); ++i) {
    const double a = orders[i];
    FG_CHECK(a > 1);
    const double epsilon =
        rdp[i] + std::log1p(-1 / a) - (std::log(delta) + std::log(a)) / (a - 1);
    if (epsilon < best.epsilon) best = {epsilon, a};
  }
  if (best.epsilon < 0) best.epsilon = 0;
  return best;
}

Epsilon EpsilonOf(const std::function<double(double order)>& rdp_at,
                  double delta) {
  std::vector<double> rdp;
  for (const double order : RdpOrders()) rdp.push_back(rdp_at(order));
  return EpsilonOfRdp(RdpOrders(), rdp, delta);
}

absl::StatusOr<double> NoiseMultiplierFor(double epsilon, double delta,
                                          double rate, double steps) {
  if (!(epsilon > 0) || !(delta > 0 && delta < 1) || !(rate > 0 && rate <= 1) ||
      !(steps >= 1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "noise for epsilon ", epsilon, ", delta ", delta, ", rate ", rate, ", ",
        steps,
        " steps: expected epsilon above 0, delta between 0 and 1, rate above 0 "
        "and at most 1, steps at least 1"));
  }
  const auto fits = [&](double noise) {
    return EpsilonOf(
               [&](double order) {
                 return steps * SampledGaussianRdp(rate, noise, order);
               },
               delta)
               .epsilon <= epsilon;
  };
  double high = 1;
  while (!fits(high)) {
    high *= 2;
    if (high > kNoiseMax) {
      return absl::OutOfRangeError(
          absl::StrCat("epsilon ", epsilon, " in ", steps,
                       " steps needs a noise multiplier above ", kNoiseMax));
    }
  }
  double low = kNoiseMin;
  if (fits(low)) return low;
  while (high / low > 1 + kNoisePrecision) {
    const double middle = std::sqrt(low * high);
    (fits(middle) ? high : low) = middle;
  }
  return high;
}

}  // namespace fedgraft
