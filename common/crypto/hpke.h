#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/base/secret.h"
#include "common/crypto/aead.h"
#include "common/crypto/x25519.h"
#include "common/runtime/random_source.h"

// HPKE (RFC 9180), base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256.

namespace fedgraft {

struct HpkeKeyPair {
  SecretBytes private_key;  // 32 bytes
  Bytes public_key;         // 32 bytes
};
HpkeKeyPair GenerateHpkeKeyPair(RandomSource& random);
HpkeKeyPair GenerateHpkeKeyPair();  // from SystemRandom
// INVALID_ARGUMENT unless 32 bytes.
absl::StatusOr<HpkeKeyPair> HpkeKeyPairFromPrivate(ByteSpan private_key);

// One encryption context. Chunks may be sealed or opened in any order: the
// caller names the sequence number and never seals one twice. Thread-safe.
class HpkeContext {
 public:
  // The sender's side; `enc` (32 bytes) goes with the ciphertext.
  struct Sender;
  static absl::StatusOr<Sender> SetUpSender(ByteSpan public_key, ByteSpan info,
                                            AeadAlgorithm algorithm);
  // The same with the ephemeral key from `random` instead of SystemRandom.
  static absl::StatusOr<Sender> SetUpSender(ByteSpan public_key, ByteSpan info,
                                            AeadAlgorithm algorithm,
                                            RandomSource& random);
  // INVALID_ARGUMENT: wrong lengths or an all-zero shared secret.
  static absl::StatusOr<HpkeContext> SetUpReceiver(ByteSpan enc,
                                                   ByteSpan private_key,
                                                   ByteSpan info,
                                                   AeadAlgorithm algorithm);
  // The same for a key that opens many messages.
  static absl::StatusOr<HpkeContext> SetUpReceiver(ByteSpan enc,
                                                   const X25519Key& key,
                                                   ByteSpan info,
                                                   AeadAlgorithm algorithm);
  HpkeContext(HpkeContext&&) = default;
  HpkeContext& operator=(HpkeContext&&) = default;

  absl::Status Seal(uint64_t sequence, ByteSpan aad, ByteSpan plaintext,
                    absl::Span<uint8_t> out) const;
  absl::Status Open(uint64_t sequence, ByteSpan aad, ByteSpan ciphertext,
                    absl::Span<uint8_t> out) const;

 private:
  friend class HpkeTestPeer;
  HpkeContext(AeadAlgorithm algorithm, SecretBytes key, SecretBytes base_nonce);
  static absl::StatusOr<Sender> SetUpSender(ByteSpan public_key, ByteSpan info,
                                            AeadAlgorithm algorithm,
                                            const X25519Key& ephemeral);
  static absl::StatusOr<HpkeContext> Derive(ByteSpan shared_point, ByteSpan enc,
                                            ByteSpan public_key, ByteSpan info,
                                            AeadAlgorithm algorithm);
  AeadAlgorithm algorithm_;
  SecretBytes key_;
  SecretBytes base_nonce_;
};

struct HpkeContext::Sender {
  Bytes enc;
  HpkeContext context;
};

}  // namespace fedgraft
