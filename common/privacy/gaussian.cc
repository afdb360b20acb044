#include "common/privacy/gaussian.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/privacy/log_erfc.h"

namespace fedgraft {
namespace {

// ln of the standard normal distribution function.
double LogPhi(double x) {
  return LogErfc(-x / std::numbers::sqrt2) - std::numbers::ln2;
}

}  // namespace

double GaussianDelta(double noise_multiplier, double epsilon) {
  FG_CHECK(noise_multiplier > 0 && epsilon >= 0);
  const double half = 0.5 / noise_multiplier;
  const double shift = epsilon * noise_multiplier;
  const double delta = std::exp(LogPhi(half - shift)) -
                       std::exp(epsilon + LogPhi(-half - shift));
  return std::max(delta, 0.0);
}

absl::StatusOr<double> GaussianNoiseMultiplier(double epsilon, double delta) {
  if (!(epsilon > 0) || !(delta > 0 && delta < 1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "Gaussian noise for epsilon ", epsilon, " and delta ", delta,
        ": expected epsilon above 0 and delta between 0 and 1"));
  }
  double low = 1e-6, high = 1;
  while (GaussianDelta(high, epsilon) > delta) high *= 2;
  while (high / low > 1 + 1e-10) {
    const double middle = std::sqrt(low * high);
    (GaussianDelta(middle, epsilon) <= delta ? high : low) = middle;
  }
  return high;
}

}  // namespace fedgraft
