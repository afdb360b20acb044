#pragma once

#include <cstdint>

namespace fedgraft {

// Chance for stochastic rounding: how value `index` of an update rounds is
// determined by (seed, index) alone, so neither slices nor threads show.
struct RoundingDraw {
  uint64_t seed = 0;
  uint64_t index = 0;  // of the first value
};

}  // namespace fedgraft
