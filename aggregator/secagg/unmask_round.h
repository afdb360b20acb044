#pragma once

#include <map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregator/secagg/mask_removal.h"
#include "common/base/ids.h"
#include "common/secagg/messages.h"
#include "common/secagg/session.h"

namespace fedgraft {

// What the steps before have fixed.
struct UnmaskFacts {
  KeyList keys;
  Digest session;
  std::vector<SiteId> sharers;
  std::vector<SiteId> survivors;
  int threshold = 0;
};

// Step 5: collects released shares; with the threshold of them, makes the masks
// that are left in the sum of the survivors.
class UnmaskRound {
 public:
  // As in rounds.h. Refuses a share of the kind that was not asked for: the
  // aggregator does not hold both kinds of one site, whoever offers them.
  absl::Status Check(const UnmaskFacts& facts, const SiteId& site,
                     ByteSpan message) const;
  absl::Status Put(const SiteId& site, ByteSpan message);
  bool Has(const SiteId& site) const { return released_.contains(site); }
  size_t size() const { return released_.size(); }

  // Every secret is compared with what its site advertised. A site that
  // released false shares is found if one more than the threshold released.
  // UNAVAILABLE: too few, or shares do not agree: with more it may succeed.
  absl::StatusOr<MaskRemoval> Reconstruct(const UnmaskFacts& facts) const;

 private:
  class Combiners;

  absl::StatusOr<SecretBytes> SecretOf(const UnmaskFacts& facts,
                                       const SiteId& site,
                                       Combiners& combiners) const;

  std::map<SiteId, ReleasedShares> released_;
};

}  // namespace fedgraft
