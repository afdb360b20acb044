#pragma once

#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/base/secret.h"

// HKDF-SHA256 (RFC 5869) and the HMAC below it.

namespace fedgraft {

inline constexpr size_t kHkdfHashSize = 32;

SecretBytes HmacSha256(ByteSpan key, ByteSpan message);  // 32 bytes

// RFC 5869 §2.2; an empty salt stands for 32 zero bytes. 32 bytes.
SecretBytes HkdfExtract(ByteSpan salt, ByteSpan input_key);
// RFC 5869 §2.3. INVALID_ARGUMENT if `length` is 0 or above 255 * 32.
absl::StatusOr<SecretBytes> HkdfExpand(ByteSpan pseudorandom_key, ByteSpan info,
                                       size_t length);

}  // namespace fedgraft
