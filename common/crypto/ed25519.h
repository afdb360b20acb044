#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/base/secret.h"

// Ed25519 (RFC 8032). Callers sign domain-separated statements only
// (common/protocol/statements.h).

namespace fedgraft {

// Immutable; thread-safe.
class SigningKey {
 public:
  static SigningKey Generate();
  // 32-byte seed. INVALID_ARGUMENT on another length.
  static absl::StatusOr<SigningKey> FromSeed(ByteSpan seed);
  // PKCS#8 PEM, unencrypted. INVALID_ARGUMENT unless an Ed25519 key.
  static absl::StatusOr<SigningKey> FromPem(std::string_view pem);
  SigningKey(SigningKey&&) noexcept;
  SigningKey& operator=(SigningKey&&) noexcept;
  ~SigningKey();

  Bytes Sign(ByteSpan message) const;  // 64 bytes
  Bytes PublicKey() const;             // 32 bytes
  SecretBytes ToPem() const;

 private:
  struct State;
  explicit SigningKey(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// PERMISSION_DENIED if the signature is not `public_key`'s over `message`;
// INVALID_ARGUMENT if a length is wrong.
absl::Status VerifySignature(ByteSpan public_key, ByteSpan message,
                             ByteSpan signature);

}  // namespace fedgraft
