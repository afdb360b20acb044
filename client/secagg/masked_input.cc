#include "client/secagg/masked_input.h"

#include <algorithm>

#include "common/base/status_macros.h"
#include "common/crypto/sealed_stream.h"
#include "common/numeric/ring_codec.h"

namespace fedgraft {

absl::StatusOr<MaskedInput> MaskedInput::Accept(
    const SecureParty& party, const SecureTranscript& transcript,
    const SiteSecrets& secrets, const KeyList& keys,
    const std::vector<SiteId>& sharers) {
  FG_RETURN_IF_ERROR(
      CheckCohort(party, keys, SitesOf(keys), sharers, "sharers"));
  std::vector<SignedMask> masks;
  FG_ASSIGN_OR_RETURN(RingMask self, RingMask::OfSelf(secrets.self_seed(),
                                                      transcript, party.site));
  masks.push_back({MaskSign::kAdd, std::move(self)});
  for (const SiteId& other : sharers) {
    if (other == party.site) continue;
    FG_ASSIGN_OR_RETURN(
        RingMask pair,
        RingMask::OfPair(secrets.mask_key(), keys.at(other).mask_key,
                         transcript, party.site, other));
    masks.push_back({RingMask::SignOf(party.site, other), std::move(pair)});
  }
  return MaskedInput(std::move(masks));
}

void MaskedInput::MaskWords(int word_bits, uint64_t first, uint64_t count,
                            absl::Span<uint8_t> packed) const {
  // All masks go over one slice while it is in the cache.
  const uint64_t slice =
      kSealedChunkBytes * 8 / static_cast<uint64_t>(word_bits);
  for (uint64_t begin = 0; begin < count; begin += slice) {
    const uint64_t words = std::min(slice, count - begin);
    const auto part = packed.subspan(PackedBytes(word_bits, begin),
                                     PackedBytes(word_bits, words));
    for (const SignedMask& one : masks_) {
      one.mask.ApplyPacked(one.sign, word_bits, first + begin, words, part);
    }
  }
}

uint64_t MaskedInput::MaskWeight(uint64_t weight_word) const {
  for (const SignedMask& one : masks_) {
    weight_word = one.mask.ApplyToWeight(one.sign, weight_word);
  }
  return weight_word;
}

}  // namespace fedgraft
