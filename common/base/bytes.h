#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace fedgraft {

using Bytes = std::vector<uint8_t>;
using ByteSpan = absl::Span<const uint8_t>;

inline ByteSpan AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view AsText(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes ToBytes(ByteSpan bytes) { return {bytes.begin(), bytes.end()}; }

// Lower-case hexadecimal.
std::string ToHex(ByteSpan bytes);
// INVALID_ARGUMENT: odd length or a character that is not a hex digit.
absl::StatusOr<Bytes> FromHex(std::string_view hex);

// Little-endian integers, and strings with a u32 length before them: the
// canonical encoding under every digest, signature and AAD.
class ByteWriter {
 public:
  ByteWriter& U8(uint8_t value);
  ByteWriter& U32(uint32_t value);
  ByteWriter& U64(uint64_t value);
  ByteWriter& Raw(ByteSpan bytes);
  ByteWriter& Sized(ByteSpan bytes);
  ByteWriter& Sized(std::string_view text) { return Sized(AsBytes(text)); }
  const Bytes& bytes() const { return bytes_; }
  Bytes Take() && { return std::move(bytes_); }

 private:
  Bytes bytes_;
};

}  // namespace fedgraft
