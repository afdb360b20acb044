#pragma once

#include "common/runtime/random_source.h"

namespace fedgraft {

// Production randomness: OpenSSL's generator, seeded by the operating system.
// Stateless and thread-safe.
class SystemRandom : public RandomSource {
 public:
  void Fill(absl::Span<uint8_t> out) override;
};

}  // namespace fedgraft
