#include "client/agent/backoff.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace fedgraft {

absl::Duration Backoff::Next() {
  uint8_t bytes[4];
  random_.Fill(absl::MakeSpan(bytes));
  uint32_t draw;
  std::memcpy(&draw, bytes, sizeof draw);
  const double fraction = draw / 4294967296.0;  // [0, 1)
  const absl::Duration delay = ceiling_ * (0.5 + 0.5 * fraction);
  ceiling_ = std::min(options_.max, ceiling_ * 2);
  return delay;
}

}  // namespace fedgraft
