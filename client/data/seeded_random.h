#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

namespace fedgraft {

// Reproducible pseudo-random numbers for simulated data, splits, shuffles and
// augmentation: the same on every platform, unlike the standard library's
// distributions. Never for keys or noise that protects privacy.
//
// Generator: xoshiro256++, its state filled by SplitMix64 (D. Blackman and
// S. Vigna, "Scrambled linear pseudorandom number generators", ACM
// Transactions on Mathematical Software 47(4), 2021, section 5 and appendix).
// Not thread-safe; cheap to make, so that each image has its own.
class SeededRandom {
 public:
  explicit SeededRandom(uint64_t seed);
  // A stream of its own for each list of numbers, such as {seed, epoch, image}.
  explicit SeededRandom(std::initializer_list<uint64_t> key);

  uint64_t Next();
  // Uniform in [0, 1), a multiple of 2^-53.
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }
  double Uniform(double low, double high) {
    return low + (high - low) * Uniform();
  }
  // Uniform in 0..bound-1, without bias. REQUIRES: bound > 0.
  uint64_t Below(uint64_t bound);
  // Standard normal (Box and Muller 1958).
  double Normal();
  // Poisson: by inversion for a mean below 30, above it the rounded normal
  // approximation, which is within the sampling error of images. REQUIRES:
  // mean is finite and not negative.
  double Poisson(double mean);

  // Fisher-Yates.
  template <typename T>
  void Shuffle(std::vector<T>& values) {
    for (size_t i = values.size(); i > 1; --i) {
      std::swap(values[i - 1], values[Below(i)]);
    }
  }

 private:
  uint64_t state_[4];
  double spare_normal_ = 0;
  bool has_spare_ = false;
};

// A well-mixed 64-bit value of a list of numbers (SplitMix64 steps), and of a
// text (FNV-1a, then mixed). Not cryptographic.
uint64_t MixSeed(std::initializer_list<uint64_t> key);
uint64_t HashText(uint64_t seed, std::string_view text);

}  // namespace fedgraft
