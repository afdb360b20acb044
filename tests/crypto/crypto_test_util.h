#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/runtime/random_source.h"

namespace fedgraft {

inline Bytes Hex(std::string_view hex) {
  auto bytes = FromHex(hex);
  FG_CHECK(bytes.ok());
  return *std::move(bytes);
}

// Hands out the given bytes, in order; aborts when they run out.
class ScriptedRandom : public RandomSource {
 public:
  explicit ScriptedRandom(Bytes script) : script_(std::move(script)) {}
  void Fill(absl::Span<uint8_t> out) override {
    for (uint8_t& byte : out) {
      FG_CHECK(next_ < script_.size());
      byte = script_[next_++];
    }
  }

 private:
  Bytes script_;
  size_t next_ = 0;
};

}  // namespace fedgraft
