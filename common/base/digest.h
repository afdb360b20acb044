#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"

namespace fedgraft {

// A SHA-256 value: the name of backbones, models, plans and sealed updates.
// Computed by common/crypto/sha256.h.
struct Digest {
  std::array<uint8_t, 32> bytes{};

  auto operator<=>(const Digest&) const = default;
  std::string Hex() const { return ToHex(bytes); }
  // For people: the first 12 hexadecimal digits.
  std::string Short() const { return Hex().substr(0, 12); }
  std::string AsWire() const {
    return std::string(bytes.begin(), bytes.end());
  }
  // INVALID_ARGUMENT unless exactly 32 bytes (FromWire) or 64 hexadecimal
  // digits (FromHex).
  static absl::StatusOr<Digest> FromWire(std::string_view wire);
  static absl::StatusOr<Digest> FromHex(std::string_view hex);
};

}  // namespace fedgraft
