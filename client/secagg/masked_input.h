#pragma once

#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "client/secagg/party.h"
#include "client/secagg/site_secrets.h"
#include "common/secagg/ring_mask.h"

namespace fedgraft {

// Step 3 at a site: the masks that go onto its update. One of its own, and one
// for each other site that shared its keys.
class MaskedInput {
 public:
  // PERMISSION_DENIED: sharers that were not in the key list, this site not
  // among them, too few. INVALID_ARGUMENT: a key of low order.
  static absl::StatusOr<MaskedInput> Accept(const SecureParty& party,
                                            const SecureTranscript& transcript,
                                            const SiteSecrets& secrets,
                                            const KeyList& keys,
                                            const std::vector<SiteId>& sharers);

  // Masks `count` packed words of `word_bits` from word `first` on, which lies
  // on a byte's edge.
  void MaskWords(int word_bits, uint64_t first, uint64_t count,
                 absl::Span<uint8_t> packed) const;
  uint64_t MaskWeight(uint64_t weight_word) const;

 private:
  explicit MaskedInput(std::vector<SignedMask> masks)
      : masks_(std::move(masks)) {}
  std::vector<SignedMask> masks_;
};

}  // namespace fedgraft
