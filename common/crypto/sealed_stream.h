#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/base/digest.h"
#include "common/crypto/hpke.h"
#include "common/crypto/sha256.h"

// A long plaintext sealed by HPKE in chunks that can be opened alone:
//   enc (32 bytes) | chunk 0 | chunk 1 | …     each chunk + 16-byte tag
// Chunk 0 holds `head_bytes` of plaintext, every other `kSealedChunkBytes`, the
// last one the rest. Chunk i is sealed with sequence number i and
// AAD = context | u64 i | u8 final: cutting, reordering or extending fails.
// The AEAD is AES-256-GCM or ChaCha20-Poly1305.

namespace fedgraft {

// A multiple of 8 bytes that every word width of 8, 12, 16, 20, 24, 32 and 64
// bits divides, so that no ring word crosses a chunk.
inline constexpr size_t kSealedChunkBytes = 122880;

// Where the chunks lie. REQUIRES of every method: chunk < ChunkCount().
struct SealedStreamShape {
  uint64_t head_bytes = 0;   // > 0
  uint64_t total_bytes = 0;  // plaintext, head included; >= head_bytes

  uint64_t ChunkCount() const;
  uint64_t PlainOffset(uint64_t chunk) const;
  uint64_t PlainSize(uint64_t chunk) const;
  uint64_t SealedOffset(uint64_t chunk) const;
  uint64_t SealedSize(uint64_t chunk) const {
    return PlainSize(chunk) + kAeadTagSize;
  }
  uint64_t SealedTotal() const;
};

inline constexpr size_t kSealedEncBytes = 32;
// Sealed plaintexts are no longer than this (1 TiB).
inline constexpr uint64_t kSealedPlainBytesMax = uint64_t{1} << 40;

// To whom a stream is sealed, and what it is bound to.
struct SealTarget {
  ByteSpan recipient_public_key;
  ByteSpan info;
  ByteSpan context;
  uint64_t head_bytes = 0;
  AeadAlgorithm algorithm = AeadAlgorithm::kAes256Gcm;
};

// Seals `plaintext` in one go; the caller streams by passing `sink`, which gets
// enc and then each chunk. Stops at the first error of `sink`. The ephemeral
// key comes from `random`. INVALID_ARGUMENT: a bad key, or head_bytes is 0 or
// above the size of `plaintext`.
absl::Status SealStream(const SealTarget& target, ByteSpan plaintext,
                        RandomSource& random,
                        const std::function<absl::Status(ByteSpan)>& sink);
// The same for a plaintext of `total_bytes` that is made chunk by chunk:
// `chunk` gives the PlainSize bytes of each, in order, valid until its next
// call. Stops at its first error as well.
absl::Status SealStream(
    const SealTarget& target, uint64_t total_bytes,
    const std::function<absl::StatusOr<ByteSpan>(uint64_t)>& chunk,
    RandomSource& random, const std::function<absl::Status(ByteSpan)>& sink);
// With AES-256-GCM.
absl::Status SealStream(ByteSpan recipient_public_key, ByteSpan info,
                        ByteSpan context, uint64_t head_bytes,
                        ByteSpan plaintext, RandomSource& random,
                        const std::function<absl::Status(ByteSpan)>& sink);
// The same with the ephemeral key from SystemRandom.
absl::Status SealStream(ByteSpan recipient_public_key, ByteSpan info,
                        ByteSpan context, uint64_t head_bytes,
                        ByteSpan plaintext,
                        const std::function<absl::Status(ByteSpan)>& sink);

// Names a sealed stream: SHA-256 of enc and of the tag of every chunk, in
// order. Nobody without the stream's key finds other bytes that open under the
// same name, and every chunk is opened before a stream is accepted; whoever has
// the key can. Costs next to nothing, unlike a hash of all bytes. Not
// thread-safe.
class SealedStreamDigest {
 public:
  // Of a stream whose chunk 0 holds `head_bytes` of plaintext and which has
  // `sealed_bytes` in all, of whatever content and even if no stream has that
  // size.
  SealedStreamDigest(uint64_t head_bytes, uint64_t sealed_bytes)
      : head_bytes_(head_bytes),
        sealed_bytes_(sealed_bytes),
        part_end_(std::min<uint64_t>(kSealedEncBytes, sealed_bytes)) {}
  // The next bytes. REQUIRES: no more than `sealed_bytes` come in all.
  void Update(ByteSpan bytes);
  // REQUIRES: not called before.
  Digest Finish() { return hasher_.Finish(); }

 private:
  void BeginPart();

  uint64_t head_bytes_, sealed_bytes_;
  uint64_t next_ = 0;  // offset of the bytes that come next
  // Of the part (enc or a chunk) that they are of: where it ends, and from
  // where on it counts.
  uint64_t part_end_, counted_begin_ = 0;
  Sha256Hasher hasher_;
};
Digest DigestOfSealed(uint64_t head_bytes, ByteSpan sealed);

// Opens single chunks. Thread-safe.
class SealedStreamOpener {
 public:
  // `enc`: the first 32 sealed bytes. INVALID_ARGUMENT: a bad key or shape.
  static absl::StatusOr<SealedStreamOpener> Create(
      ByteSpan enc, ByteSpan recipient_private_key, ByteSpan info,
      ByteSpan context, SealedStreamShape shape,
      AeadAlgorithm algorithm = AeadAlgorithm::kAes256Gcm);
  // The same for a key that opens many streams.
  static absl::StatusOr<SealedStreamOpener> Create(
      ByteSpan enc, const X25519Key& recipient, ByteSpan info, ByteSpan context,
      SealedStreamShape shape,
      AeadAlgorithm algorithm = AeadAlgorithm::kAes256Gcm);
  // `sealed`: SealedSize(chunk) bytes; `out`: PlainSize(chunk), which may
  // begin where `sealed` does. DATA_LOSS if it was changed, cut, moved, or
  // belongs to another context.
  absl::Status Open(uint64_t chunk, ByteSpan sealed,
                    absl::Span<uint8_t> out) const;
  const SealedStreamShape& shape() const { return shape_; }

 private:
  SealedStreamOpener(HpkeContext hpke, Bytes context, SealedStreamShape shape)
      : hpke_(std::move(hpke)), context_(std::move(context)), shape_(shape) {}
  HpkeContext hpke_;
  Bytes context_;
  SealedStreamShape shape_;
};

}  // namespace fedgraft
