#pragma once

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/base/secret.h"

// X25519 (RFC 7748).

struct evp_pkey_st;

namespace fedgraft {

inline constexpr size_t kX25519KeySize = 32;

// A private key that is used more than once: its public half, which takes as
// long as a shared secret, is computed only here. Cheap to copy; immutable and
// thread-safe. The key is wiped with the last copy.
class X25519Key {
 public:
  // INVALID_ARGUMENT unless 32 bytes.
  static absl::StatusOr<X25519Key> FromPrivate(ByteSpan private_key);

  const Bytes& public_key() const { return public_key_; }
  // As X25519SharedSecret below.
  absl::StatusOr<SecretBytes> SharedSecret(ByteSpan peer_public_key) const;

 private:
  X25519Key(std::shared_ptr<evp_pkey_st> key, Bytes public_key)
      : key_(std::move(key)), public_key_(std::move(public_key)) {}

  std::shared_ptr<evp_pkey_st> key_;
  Bytes public_key_;
};

// The public key of a 32-byte private key. INVALID_ARGUMENT on another length.
absl::StatusOr<Bytes> X25519PublicKey(ByteSpan private_key);

// The 32-byte shared secret; hash it before use. INVALID_ARGUMENT: a key of
// another length, or a low-order public key (the secret would be all zero).
absl::StatusOr<SecretBytes> X25519SharedSecret(ByteSpan private_key,
                                               ByteSpan public_key);

}  // namespace fedgraft
