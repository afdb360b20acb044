#include "tests/support/sim_random.h"

#include "common/base/check.h"

namespace fedgraft::testing {

uint64_t SimRandom::Next() {
  uint64_t z = (state_ += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

void SimRandom::Fill(absl::Span<uint8_t> out) {
  uint64_t word = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    if (i % 8 == 0) word = Next();
    out[i] = static_cast<uint8_t>(word >> (8 * (i % 8)));
  }
}

uint64_t SimRandom::Below(uint64_t bound) {
  FG_CHECK(bound > 0);
  // The bias of the remainder is below 2^-32 for the bounds that tests use.
  return Next() % bound;
}

absl::Duration SimRandom::Between(absl::Duration low, absl::Duration high) {
  FG_CHECK(low <= high);
  const int64_t span_ns = absl::ToInt64Nanoseconds(high - low);
  return low + absl::Nanoseconds(static_cast<int64_t>(
                   Below(static_cast<uint64_t>(span_ns) + 1)));
}

bool SimRandom::Chance(double probability) {
  return static_cast<double>(Next() >> 11) * 0x1p-53 < probability;
}

}  // namespace fedgraft::testing
