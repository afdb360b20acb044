#pragma once

#include <cstdint>

#include "absl/types/span.h"

namespace fedgraft {

// Port: unpredictable bytes (in tests: seeded ones). Thread-safe.
class RandomSource {
 public:
  virtual ~RandomSource() = default;
  // Aborts the process if the system has no entropy: nothing may go on then.
  virtual void Fill(absl::Span<uint8_t> out) = 0;
};

}  // namespace fedgraft
