#pragma once

#include "common/runtime/clock.h"

namespace fedgraft {

// The Clock of production. Monotonic() counts from an arbitrary start (usually
// the boot), so its values mean something only as differences. Thread-safe.
class SystemClock : public Clock {
 public:
  absl::Time Monotonic() const override;
  absl::Time Wall() const override;
};

}  // namespace fedgraft
