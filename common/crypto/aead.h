#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/bytes.h"
#include "common/base/secret.h"

namespace fedgraft {

enum class AeadAlgorithm : uint16_t {  // numbers of RFC 9180, table 5
  kAes128Gcm = 1,
  kAes256Gcm = 2,
  kChaCha20Poly1305 = 3,
};
inline constexpr size_t kAeadTagSize = 16;
inline constexpr size_t kAeadNonceSize = 12;
size_t AeadKeySize(AeadAlgorithm algorithm);
// Whether this processor has instructions for AES; without them
// ChaCha20-Poly1305 is several times as fast, and its time does not depend on
// the key.
bool HasAesInstructions();

// `out` has plaintext.size() + kAeadTagSize bytes; may not overlap the input.
// INVALID_ARGUMENT: key, nonce or out of the wrong size.
absl::Status AeadSeal(AeadAlgorithm algorithm, ByteSpan key, ByteSpan nonce,
                      ByteSpan aad, ByteSpan plaintext,
                      absl::Span<uint8_t> out);
// `out` has ciphertext.size() - kAeadTagSize bytes. DATA_LOSS if the tag does
// not fit (out is zeroed). `out` may begin where the ciphertext does, but not
// overlap it otherwise.
absl::Status AeadOpen(AeadAlgorithm algorithm, ByteSpan key, ByteSpan nonce,
                      ByteSpan aad, ByteSpan ciphertext,
                      absl::Span<uint8_t> out);

}  // namespace fedgraft
