#pragma once

#include "absl/time/time.h"

namespace fedgraft {

// Port: what time it is. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // Monotonic; for time-outs and intervals.
  virtual absl::Time Monotonic() const = 0;
  // Wall clock; for people and certificates only, no decision of the
  // coordinator reads it.
  virtual absl::Time Wall() const = 0;
};

}  // namespace fedgraft
