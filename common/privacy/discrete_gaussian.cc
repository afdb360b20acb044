#include "common/privacy/discrete_gaussian.h"

#include <bit>
#include <cmath>
#include <limits>

#include "common/base/check.h"

namespace fedgraft {
namespace {

uint64_t FloorSqrt(uint64_t value) {
  uint64_t root = static_cast<uint64_t>(std::sqrt(static_cast<double>(value)));
  while (root * root > value) --root;
  while ((root + 1) * (root + 1) <= value) ++root;
  return root;
}

int BitWidth(unsigned __int128 value) {
  const uint64_t high = static_cast<uint64_t>(value >> 64);
  return high != 0 ? 64 + std::bit_width(high)
                   : std::bit_width(static_cast<uint64_t>(value));
}

}  // namespace

DiscreteGaussian::DiscreteGaussian(uint64_t sigma2, RandomSource& random)
    : sigma2_(sigma2), scale_(FloorSqrt(sigma2) + 1), random_(random) {
  FG_CHECK(sigma2 >= 1 && sigma2 <= kSigma2Max);
}

// What is left of the noise's randomness is nobody's business.
DiscreteGaussian::~DiscreteGaussian() {
  volatile uint64_t* words = words_;
  for (size_t i = 0; i < std::size(words_); ++i) words[i] = 0;
}

uint64_t DiscreteGaussian::NextWord() {
  if (used_ == std::size(words_)) {
    random_.Fill(
        absl::MakeSpan(reinterpret_cast<uint8_t*>(words_), sizeof(words_)));
    used_ = 0;
  }
  return words_[used_++];
}

bool DiscreteGaussian::NextBit() {
  if (bits_left_ == 0) {
    bits_ = NextWord();
    bits_left_ = 64;
  }
  const bool bit = (bits_ & 1) != 0;
  bits_ >>= 1;
  --bits_left_;
  return bit;
}

uint64_t DiscreteGaussian::Below(uint64_t bound) {
  const int unused = 64 - std::bit_width(bound - 1);
  if (unused == 64) return 0;
  for (;;) {
    const uint64_t value = NextWord() >> unused;
    if (value < bound) return value;
  }
}

DiscreteGaussian::Wide DiscreteGaussian::BelowWide(Wide bound) {
  if (bound <= std::numeric_limits<uint64_t>::max()) {
    return Below(static_cast<uint64_t>(bound));
  }
  const int unused = 128 - BitWidth(bound - 1);
  for (;;) {
    const Wide high = static_cast<Wide>(NextWord()) << 64;
    const Wide value = (high | NextWord()) >> unused;
    if (value < bound) return value;
  }
}

bool DiscreteGaussian::Bernoulli(Wide numerator, Wide denominator) {
  return BelowWide(denominator) < numerator;
}

bool DiscreteGaussian::BernoulliExpBelowOne(Wide numerator, Wide denominator) {
  uint64_t k = 1;
  while (Bernoulli(numerator, denominator * k)) ++k;
  return k % 2 == 1;
}

bool DiscreteGaussian::BernoulliExp(Wide numerator, Wide denominator) {
  for (; numerator > denominator; numerator -= denominator) {
    if (!BernoulliExpBelowOne(1, 1)) return false;
  }
  return BernoulliExpBelowOne(numerator, denominator);
}

int64_t DiscreteGaussian::Laplace() {
  for (;;) {
    const uint64_t remainder = Below(scale_);
    if (!BernoulliExpBelowOne(remainder, scale_)) continue;
    uint64_t quotient = 0;
    while (BernoulliExpBelowOne(1, 1)) ++quotient;
    const int64_t magnitude =
        static_cast<int64_t>(remainder + scale_ * quotient);
    const bool negative = NextBit();
    if (negative && magnitude == 0) continue;  // 0 would count twice
    return negative ? -magnitude : magnitude;
  }
}

int64_t DiscreteGaussian::Sample() {
  const Wide scale = scale_;
  for (;;) {
    const int64_t candidate = Laplace();
    const Wide magnitude = static_cast<Wide>(std::abs(candidate));
    // exp(-(|y| - sigma^2 / t)^2 / (2 sigma^2)), by t^2 above and below. The
    // square fits as long as |y| is below 2^10 scales; the Laplace part alone
    // exceeds that with probability e^-1024.
    const Wide product = magnitude * scale;
    const Wide distance =
        product > sigma2_ ? product - sigma2_ : sigma2_ - product;
    if (distance >> 63 != 0) continue;
    if (BernoulliExp(distance * distance, 2 * scale * scale * sigma2_)) {
      return candidate;
    }
  }
}

}  // namespace fedgraft
