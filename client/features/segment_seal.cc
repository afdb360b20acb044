#include "client/features/segment_seal.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/crypto/aead.h"
#include "common/crypto/hkdf.h"
#include "common/crypto/sha256.h"

namespace fedgraft {
namespace {

constexpr AeadAlgorithm kAlgorithm = AeadAlgorithm::kAes256Gcm;
constexpr std::string_view kKeyInfo = "fedgraft feature segment v1";
static_assert(kSegmentTagBytes == kAeadTagSize);

std::array<uint8_t, kAeadNonceSize> Nonce(uint64_t number) {
  std::array<uint8_t, kAeadNonceSize> nonce{};
  for (int i = 0; i < 8; ++i) {
    nonce[i] = static_cast<uint8_t>(number >> (8 * i));
  }
  return nonce;
}

}  // namespace

absl::StatusOr<SegmentSeal> SegmentSeal::Create(ByteSpan key, ByteSpan salt,
                                                ByteSpan header) {
  SecretBytes segment_key;
  if (!key.empty()) {
    FG_ASSIGN_OR_RETURN(segment_key,
                        HkdfExpand(HkdfExtract(salt, key).span(),
                                   AsBytes(kKeyInfo), AeadKeySize(kAlgorithm)));
  }
  return SegmentSeal(std::move(segment_key), Sha256(header));
}

Digest SegmentSeal::PlainTag(uint64_t number, ByteSpan part) const {
  ByteWriter prefix;
  prefix.Raw(header_.bytes).U64(number);
  Sha256Hasher hasher;
  hasher.Update(prefix.bytes());
  hasher.Update(part);
  return hasher.Finish();
}

absl::Status SegmentSeal::Close(uint64_t number, ByteSpan part,
                                absl::Span<uint8_t> out) const {
  FG_CHECK(out.size() == part.size() + kSegmentTagBytes);
  if (!key_.empty()) {
    return AeadSeal(kAlgorithm, key_.span(), Nonce(number), header_.bytes, part,
                    out);
  }
  const Digest tag = PlainTag(number, part);
  std::copy(part.begin(), part.end(), out.begin());
  std::copy_n(tag.bytes.begin(), kSegmentTagBytes, out.begin() + part.size());
  return absl::OkStatus();
}

absl::Status SegmentSeal::Open(uint64_t number, ByteSpan stored,
                               absl::Span<uint8_t> out) const {
  FG_CHECK(stored.size() == out.size() + kSegmentTagBytes);
  if (!key_.empty()) {
    return AeadOpen(kAlgorithm, key_.span(), Nonce(number), header_.bytes,
                    stored, out);
  }
  const ByteSpan part = stored.subspan(0, out.size());
  const Digest tag = PlainTag(number, part);
  if (!std::equal(tag.bytes.begin(), tag.bytes.begin() + kSegmentTagBytes,
                  stored.begin() + out.size())) {
    return absl::DataLossError(
        absl::StrCat("part ", number, ": the checksum does not fit"));
  }
  std::copy(part.begin(), part.end(), out.begin());
  return absl::OkStatus();
}

}  // namespace fedgraft
