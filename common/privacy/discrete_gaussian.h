#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "common/runtime/random_source.h"

namespace fedgraft {

// Integers x with probability proportional to exp(-x^2 / (2 sigma2)), exactly:
// all decisions are comparisons of integers with uniform random ones, so no
// rounding can favour a value. (Canonne, Kamath and Steinke, "The Discrete
// Gaussian for Differential Privacy", 2020, algorithms 1 to 3.)
//
// How long a sample takes depends on it, a little. Not thread-safe; `random`
// outlives the sampler.
class DiscreteGaussian {
 public:
  // Keeps every product within 128 bits.
  static constexpr uint64_t kSigma2Max = uint64_t{1} << 52;

  // REQUIRES: 1 <= sigma2 <= kSigma2Max.
  DiscreteGaussian(uint64_t sigma2, RandomSource& random);
  ~DiscreteGaussian();
  DiscreteGaussian(const DiscreteGaussian&) = delete;
  DiscreteGaussian& operator=(const DiscreteGaussian&) = delete;

  int64_t Sample();

 private:
  using Wide = unsigned __int128;

  uint64_t NextWord();
  bool NextBit();
  // Uniform in [0, bound). REQUIRES: bound > 0.
  uint64_t Below(uint64_t bound);
  Wide BelowWide(Wide bound);
  // True with probability numerator / denominator, at most 1.
  bool Bernoulli(Wide numerator, Wide denominator);
  // True with probability exp(-numerator / denominator).
  bool BernoulliExp(Wide numerator, Wide denominator);
  bool BernoulliExpBelowOne(Wide numerator, Wide denominator);
  // Integers with probability proportional to exp(-|x| / scale_).
  int64_t Laplace();

  const uint64_t sigma2_;
  const uint64_t scale_;  // floor(sigma) + 1
  RandomSource& random_;
  uint64_t words_[512];
  size_t used_ = 512;
  uint64_t bits_ = 0;
  int bits_left_ = 0;
};

}  // namespace fedgraft
