#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/crypto/mask_stream.h"
#include "common/crypto/x25519.h"
#include "common/secagg/session.h"

namespace fedgraft {

enum class MaskSign { kAdd, kSubtract };
inline MaskSign Opposite(MaskSign sign) {
  return sign == MaskSign::kAdd ? MaskSign::kSubtract : MaskSign::kAdd;
}

// A mask over the words of an update, and over its weight: uniform words of
// Z_2^b for every b, b bits of keystream each. Immutable and thread-safe.
class RingMask {
 public:
  // The mask that two sites share: the one that comes first in canonical order
  // adds it, the other subtracts it. `own`: the mask key of one of the two.
  // INVALID_ARGUMENT: a public key of low order.
  static absl::StatusOr<RingMask> OfPair(const X25519Key& own,
                                         ByteSpan other_key,
                                         const SecureTranscript& transcript,
                                         const SiteId& a, const SiteId& b);
  static MaskSign SignOf(const SiteId& site, const SiteId& other) {
    return site < other ? MaskSign::kAdd : MaskSign::kSubtract;
  }
  // A site's own mask, which it adds.
  static absl::StatusOr<RingMask> OfSelf(ByteSpan seed,
                                         const SecureTranscript& transcript,
                                         const SiteId& site);

  // Adds the mask's words first_word, first_word + 1, … to packed words, mod
  // 2^word_bits. REQUIRES: IsWordWidth(word_bits); first_word * word_bits a
  // multiple of 8; `packed` has PackedBytes(word_bits, count) bytes, its last
  // unused bits 0 (they stay 0).
  void ApplyPacked(MaskSign sign, int word_bits, uint64_t first_word,
                   uint64_t count, absl::Span<uint8_t> packed) const;
  // The same for a word each, mod 2^64: bits above the ring's mean nothing.
  void Apply(MaskSign sign, int word_bits, uint64_t first_word,
             absl::Span<uint64_t> words) const;
  // To the weight, a word of Z_2^64.
  uint64_t ApplyToWeight(MaskSign sign, uint64_t weight_word) const;

 private:
  RingMask(MaskStream words, MaskStream weight)
      : words_(std::move(words)), weight_(std::move(weight)) {}
  static absl::StatusOr<RingMask> Derive(ByteSpan secret, const Bytes& context);

  MaskStream words_;
  MaskStream weight_;
};

struct SignedMask {
  MaskSign sign = MaskSign::kAdd;
  RingMask mask;
};

}  // namespace fedgraft
