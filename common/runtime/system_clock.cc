#include "common/runtime/system_clock.h"

#include <chrono>

#include "absl/time/clock.h"

namespace fedgraft {

absl::Time SystemClock::Monotonic() const {
  return absl::UnixEpoch() +
         absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

absl::Time SystemClock::Wall() const { return absl::Now(); }

}  // namespace fedgraft
