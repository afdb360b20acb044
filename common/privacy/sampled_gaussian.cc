#include "common/privacy/sampled_gaussian.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "common/base/check.h"
#include "common/privacy/log_erfc.h"

namespace fedgraft {
namespace {

// A term of a sum: sign * exp(log).
struct Term {
  double log;
  double sign;
};

// ln of a sum that is known to be positive.
double LogSum(const std::vector<Term>& terms) {
  double largest = -std::numeric_limits<double>::infinity();
  for (const Term& term : terms) largest = std::max(largest, term.log);
  if (!std::isfinite(largest)) return largest;
  double sum = 0;
  // From the back, where the small ones are.
  for (size_t i = terms.size(); i-- > 0;) {
    sum += terms[i].sign * std::exp(terms[i].log - largest);
  }
  return largest + std::log(sum);
}

// ln E[((1 - q) + q e^((2z - 1) / 2s^2))^a], z ~ N(0, s^2), for an integer a:
// the binomial theorem.
double LogMomentInteger(double q, double s, int a) {
  std::vector<Term> terms;
  double log_binomial = 0;
  for (int i = 0; i <= a; ++i) {
    terms.push_back({log_binomial + (a - i) * std::log1p(-q) + i * std::log(q) +
                         (i * (i - 1.0)) / (2 * s * s),
                     1});
    log_binomial += std::log((a - i) / (i + 1.0));
  }
  return LogSum(terms);
}

// The same for any a > 1: two binomial series, one on each side of the z at
// which both summands are equal.
double LogMomentFractional(double q, double s, double a) {
  // Terms fall at least as i^-(a + 2) and alternate; what is left out is less
  // than the last of them.
  constexpr double kNegligible = -36;  // ln, of the largest
  constexpr int kTermsMax = 1 << 20;
  const double log_q = std::log(q), log_p = std::log1p(-q);
  const double z = s * s * (log_p - log_q) + 0.5;
  const double root = std::numbers::sqrt2 * s;
  std::vector<Term> terms;
  double log_binomial = 0, sign = 1;
  double largest = -std::numeric_limits<double>::infinity();
  for (int i = 0; i < kTermsMax; ++i) {
    const double j = a - i;
    const double left = log_binomial - std::numbers::ln2 + j * log_p +
                        i * log_q + (i * (i - 1.0)) / (2 * s * s) +
                        LogErfc((i - z) / root);
    const double right = log_binomial - std::numbers::ln2 + i * log_p +
                         j * log_q + (j * (j - 1)) / (2 * s * s) +
                         LogErfc((z - j) / root);
    terms.push_back({left, sign});
    terms.push_back({right, sign});
    largest = std::max({largest, left, right});
    if (i > a && std::max(left, right) < largest + kNegligible) break;
    log_binomial += std::log(std::abs(j) / (i + 1.0));
    if (j < 0) sign = -sign;
  }
  return LogSum(terms);
}

}  // namespace

double SampledGaussianRdp(double rate, double noise_multiplier, double order) {
  FG_CHECK(rate >= 0 && rate <= 1 && noise_multiplier > 0 && order > 1);
  if (rate == 0) return 0;
  if (rate == 1) return order / (2 * noise_multiplier * noise_multiplier);
  const bool is_integer = std::floor(order) == order && order < (1 << 20);
  const double log_moment =
      is_integer
          ? LogMomentInteger(rate, noise_multiplier, static_cast<int>(order))
          : LogMomentFractional(rate, noise_multiplier, order);
  // Not a number only where everything overflowed; and rounding must not make
  // a tiny loss negative.
  if (std::isnan(log_moment)) return std::numeric_limits<double>::infinity();
  return std::max(log_moment, 0.0) / (order - 1);
}

}  // namespace fedgraft
