#pragma once

#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/bytes.h"
#include "common/base/secret.h"
#include "common/crypto/openssl_ptr.h"

namespace fedgraft {

// The mask that a secret stands for: the keystream of AES-256 in counter mode
// from counter 0, under a key that HKDF-SHA256 makes of the secret and of the
// context that the mask is for. Immutable and thread-safe; a Reader is for one
// thread. Bytes may be read from any place, so that several workers can share
// one mask.
class MaskStream {
 public:
  static constexpr size_t kKeyBytes = 32;

  // INVALID_ARGUMENT: an empty secret.
  static absl::StatusOr<MaskStream> Derive(ByteSpan secret, ByteSpan context);
  // INVALID_ARGUMENT unless kKeyBytes.
  static absl::StatusOr<MaskStream> FromKey(ByteSpan key);

  class Reader {
   public:
    // The next bytes are those from `offset` on.
    Reader(const MaskStream& stream, uint64_t offset);
    void Read(absl::Span<uint8_t> out);

   private:
    CipherCtxPtr ctx_;
  };

 private:
  explicit MaskStream(SecretBytes key) : key_(std::move(key)) {}
  SecretBytes key_;
};

}  // namespace fedgraft
