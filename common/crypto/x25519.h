#pragma once

#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/base/secret.h"

// X25519 (RFC 7748).

namespace fedgraft {

inline constexpr size_t kX25519KeySize = 32;

// The public key of a 32-byte private key. INVALID_ARGUMENT on another length.
absl::StatusOr<Bytes> X25519PublicKey(ByteSpan private_key);

// The 32-byte shared secret; hash it before use. INVALID_ARGUMENT: a key of
// another length, or a low-order public key (the secret would be all zero).
absl::StatusOr<SecretBytes> X25519SharedSecret(ByteSpan private_key,
                                               ByteSpan public_key);

}  // namespace fedgraft
