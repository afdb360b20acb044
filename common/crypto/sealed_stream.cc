#include "common/crypto/sealed_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/crypto/system_random.h"

namespace fedgraft {
namespace {

absl::Status CheckShape(const SealedStreamShape& shape) {
  if (shape.head_bytes == 0 || shape.head_bytes > shape.total_bytes ||
      shape.total_bytes > kSealedPlainBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "sealed stream with a head of ", shape.head_bytes, " of ",
        shape.total_bytes,
        " bytes: expected 0 < head <= total <= ", kSealedPlainBytesMax));
  }
  return absl::OkStatus();
}

// `aad` starts with the context; only what follows it changes per chunk.
void SetChunkAad(size_t context_size, uint64_t chunk, bool final, Bytes& aad) {
  aad.resize(context_size + 9);
  for (int i = 0; i < 8; ++i) {
    aad[context_size + i] = static_cast<uint8_t>(chunk >> (8 * i));
  }
  aad[context_size + 8] = final ? 1 : 0;
}

}  // namespace

uint64_t SealedStreamShape::ChunkCount() const {
  const uint64_t rest = total_bytes - head_bytes;
  return 1 + rest / kSealedChunkBytes + (rest % kSealedChunkBytes != 0 ? 1 : 0);
}

uint64_t SealedStreamShape::PlainOffset(uint64_t chunk) const {
  return chunk == 0 ? 0 : head_bytes + (chunk - 1) * kSealedChunkBytes;
}

uint64_t SealedStreamShape::PlainSize(uint64_t chunk) const {
  if (chunk == 0) return head_bytes;
  return std::min<uint64_t>(kSealedChunkBytes,
                            total_bytes - PlainOffset(chunk));
}

uint64_t SealedStreamShape::SealedOffset(uint64_t chunk) const {
  return kSealedEncBytes + PlainOffset(chunk) + chunk * kAeadTagSize;
}

uint64_t SealedStreamShape::SealedTotal() const {
  return kSealedEncBytes + total_bytes + ChunkCount() * kAeadTagSize;
}

absl::Status SealStream(const SealTarget& target, ByteSpan plaintext,
                        RandomSource& random,
                        const std::function<absl::Status(ByteSpan)>& sink) {
  const SealedStreamShape shape{.head_bytes = target.head_bytes,
                                .total_bytes = plaintext.size()};
  return SealStream(
      target, plaintext.size(),
      [&](uint64_t chunk) -> absl::StatusOr<ByteSpan> {
        return plaintext.subspan(shape.PlainOffset(chunk),
                                 shape.PlainSize(chunk));
      },
      random, sink);
}

absl::Status SealStream(
    const SealTarget& target, uint64_t total_bytes,
    const std::function<absl::StatusOr<ByteSpan>(uint64_t)>& chunk_source,
    RandomSource& random, const std::function<absl::Status(ByteSpan)>& sink) {
  const SealedStreamShape shape{.head_bytes = target.head_bytes,
                                .total_bytes = total_bytes};
  FG_RETURN_IF_ERROR(CheckShape(shape));
  FG_ASSIGN_OR_RETURN(
      const HpkeContext::Sender sender,
      HpkeContext::SetUpSender(target.recipient_public_key, target.info,
                               target.algorithm, random));
  FG_RETURN_IF_ERROR(sink(sender.enc));
  const uint64_t count = shape.ChunkCount();
  Bytes aad = ToBytes(target.context);
  // One buffer for all chunks: it stays in the cache.
  Bytes sealed(std::max(shape.SealedSize(0), shape.SealedSize(count - 1)));
  if (count > 2) {
    sealed.resize(std::max(sealed.size(), kSealedChunkBytes + kAeadTagSize));
  }
  for (uint64_t chunk = 0; chunk < count; ++chunk) {
    SetChunkAad(target.context.size(), chunk, chunk + 1 == count, aad);
    const absl::Span<uint8_t> out =
        absl::MakeSpan(sealed).subspan(0, shape.SealedSize(chunk));
    FG_ASSIGN_OR_RETURN(const ByteSpan plaintext, chunk_source(chunk));
    FG_RETURN_IF_ERROR(sender.context.Seal(chunk, aad, plaintext, out));
    FG_RETURN_IF_ERROR(sink(out));
  }
  return absl::OkStatus();
}

absl::Status SealStream(ByteSpan recipient_public_key, ByteSpan info,
                        ByteSpan context, uint64_t head_bytes,
                        ByteSpan plaintext, RandomSource& random,
                        const std::function<absl::Status(ByteSpan)>& sink) {
  return SealStream({.recipient_public_key = recipient_public_key,
                     .info = info,
                     .context = context,
                     .head_bytes = head_bytes},
                    plaintext, random, sink);
}

absl::Status SealStream(ByteSpan recipient_public_key, ByteSpan info,
                        ByteSpan context, uint64_t head_bytes,
                        ByteSpan plaintext,
                        const std::function<absl::Status(ByteSpan)>& sink) {
  SystemRandom random;
  return SealStream(recipient_public_key, info, context, head_bytes, plaintext,
                    random, sink);
}

void SealedStreamDigest::BeginPart() {
  const uint64_t plain_bytes =
      next_ == kSealedEncBytes ? head_bytes_ : kSealedChunkBytes;
  const uint64_t left = sealed_bytes_ - next_;
  const uint64_t size = std::min(left, plain_bytes + kAeadTagSize);
  part_end_ = next_ + size;
  counted_begin_ = part_end_ - std::min<uint64_t>(size, kAeadTagSize);
}

void SealedStreamDigest::Update(ByteSpan bytes) {
  FG_CHECK(bytes.size() <= sealed_bytes_ - next_);
  while (!bytes.empty()) {
    if (next_ == part_end_) BeginPart();
    const uint64_t size = std::min<uint64_t>(bytes.size(), part_end_ - next_);
    const uint64_t end = next_ + size;
    if (end > counted_begin_) {
      hasher_.Update(
          bytes.first(size).subspan(std::max(next_, counted_begin_) - next_));
    }
    next_ = end;
    bytes.remove_prefix(size);
  }
}

Digest DigestOfSealed(uint64_t head_bytes, ByteSpan sealed) {
  SealedStreamDigest digest(head_bytes, sealed.size());
  digest.Update(sealed);
  return digest.Finish();
}

absl::StatusOr<SealedStreamOpener> SealedStreamOpener::Create(
    ByteSpan enc, ByteSpan recipient_private_key, ByteSpan info,
    ByteSpan context, SealedStreamShape shape, AeadAlgorithm algorithm) {
  FG_ASSIGN_OR_RETURN(const X25519Key key,
                      X25519Key::FromPrivate(recipient_private_key));
  return Create(enc, key, info, context, shape, algorithm);
}

absl::StatusOr<SealedStreamOpener> SealedStreamOpener::Create(
    ByteSpan enc, const X25519Key& recipient, ByteSpan info, ByteSpan context,
    SealedStreamShape shape, AeadAlgorithm algorithm) {
  FG_RETURN_IF_ERROR(CheckShape(shape));
  FG_ASSIGN_OR_RETURN(HpkeContext hpke, HpkeContext::SetUpReceiver(
                                            enc, recipient, info, algorithm));
  return SealedStreamOpener(std::move(hpke), ToBytes(context), shape);
}

absl::Status SealedStreamOpener::Open(uint64_t chunk, ByteSpan sealed,
                                      absl::Span<uint8_t> out) const {
  const uint64_t count = shape_.ChunkCount();
  if (chunk >= count || out.size() != shape_.PlainSize(chunk)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "chunk ", chunk, " of ", count, " opened into ", out.size(), " bytes"));
  }
  if (sealed.size() != shape_.SealedSize(chunk)) {
    return absl::DataLossError(absl::StrCat("sealed chunk ", chunk, " has ",
                                            sealed.size(), " bytes, expected ",
                                            shape_.SealedSize(chunk)));
  }
  Bytes aad;
  aad.reserve(context_.size() + 9);
  aad = context_;
  SetChunkAad(context_.size(), chunk, chunk + 1 == count, aad);
  return Annotate(hpke_.Open(chunk, aad, sealed, out),
                  absl::StrCat("sealed chunk ", chunk, " of ", count));
}

}  // namespace fedgraft
