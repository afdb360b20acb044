#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "client/secagg/party.h"
#include "client/secagg/share_keys.h"
#include "common/secagg/messages.h"

namespace fedgraft {

// Step 5 at a site: of every sharer one share. Of a survivor that of its own
// mask's seed, of any other that of its mask key: which one follows from the
// survivors alone, so never both.
class Unmask {
 public:
  // `shared`: this site's step 2. REQUIRES: the survivors were accepted
  // (Consistency::Sign) and recorded. A share that does not open is left out:
  // its site harms itself only. PERMISSION_DENIED: too few signatures (see
  // Consistency::Check), or shares by a site that did not share.
  static absl::StatusOr<ReleasedShares> Release(
      const SecureParty& party, const SiteSecrets& secrets,
      const ShareKeys& shared, const std::vector<SiteId>& sharers,
      const SurvivorProof& proof);
};

}  // namespace fedgraft
