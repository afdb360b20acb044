#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "common/runtime/random_source.h"

namespace fedgraft {

// Chance that has to stay secret: which records take part in a step, and the
// noise that hides them. From a cryptographic source, never from the plan's
// seed, which everybody knows.
//
// Gaussian values are doubles (Box and Muller, 53-bit uniforms), rounded to
// floats when added: what such a value's last bits may tell (Mironov, "On
// Significance of the Least Significant Bits for Differential Privacy", 2012)
// is not accounted for. Not thread-safe; `random` outlives this.
class GaussianNoise {
 public:
  explicit GaussianNoise(RandomSource& random) : random_(random) {}
  ~GaussianNoise();
  GaussianNoise(const GaussianNoise&) = delete;
  GaussianNoise& operator=(const GaussianNoise&) = delete;

  // True with this probability, to 2^-53.
  bool Chance(double probability) { return Uniform() < probability; }
  // Standard normal.
  double Next();
  // Adds independent noise of standard deviation `sigma`.
  void AddTo(absl::Span<float> values, double sigma);

 private:
  // [0, 1)
  double Uniform();

  static constexpr size_t kWords = 512;
  RandomSource& random_;
  uint64_t words_[kWords];
  size_t used_ = kWords;
  double spare_ = 0;
  bool has_spare_ = false;
};

}  // namespace fedgraft
