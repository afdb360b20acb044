#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "common/runtime/random_source.h"

namespace fedgraft::testing {

// A seeded RandomSource (SplitMix64), the only source of chance in simulated
// tests. Not thread-safe.
class SimRandom : public RandomSource {
 public:
  explicit SimRandom(uint64_t seed) : state_(seed) {}

  void Fill(absl::Span<uint8_t> out) override;

  uint64_t Next();
  // Uniform in [0, bound). REQUIRES: bound > 0.
  uint64_t Below(uint64_t bound);
  // Uniform in [low, high].
  absl::Duration Between(absl::Duration low, absl::Duration high);
  // True with this probability.
  bool Chance(double probability);
  // An independent stream, so that drawing more in one place does not change
  // what another place sees.
  SimRandom Fork() { return SimRandom(Next()); }

 private:
  uint64_t state_;
};

}  // namespace fedgraft::testing
