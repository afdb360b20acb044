#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/bytes.h"
#include "common/base/digest.h"
#include "common/base/secret.h"

namespace fedgraft {

// Every part of a segment is stored with a tag of this size behind it.
inline constexpr size_t kSegmentTagBytes = 16;

// Protects the numbered parts of one segment, each for itself, so that one row
// can be read alone.
//
//   with a key     AES-256-GCM under HKDF-SHA256(key, salt of the segment);
//                  nonce = number of the part, AAD = SHA-256 of the header
//   without        the part as it is; tag = the first 16 bytes of
//                  SHA-256(SHA-256 of the header | number | part): finds
//                  damage, not forgery
//
// Either way a part that was changed, moved or taken from another segment does
// not open. Immutable, thread-safe.
class SegmentSeal {
 public:
  // `key`: the site's, or empty. REQUIRES: with a key, `salt` was drawn at
  // random for this segment, so that no nonce is used twice.
  static absl::StatusOr<SegmentSeal> Create(ByteSpan key, ByteSpan salt,
                                            ByteSpan header);

  // `out` has kSegmentTagBytes more than `part`.
  absl::Status Close(uint64_t number, ByteSpan part,
                     absl::Span<uint8_t> out) const;
  // `out` has kSegmentTagBytes less than `stored`. DATA_LOSS if the tag does
  // not fit: damage, or another key.
  absl::Status Open(uint64_t number, ByteSpan stored,
                    absl::Span<uint8_t> out) const;

 private:
  SegmentSeal(SecretBytes key, Digest header)
      : key_(std::move(key)), header_(header) {}
  Digest PlainTag(uint64_t number, ByteSpan part) const;

  SecretBytes key_;  // of this segment; empty: not encrypted
  Digest header_;
};

}  // namespace fedgraft
