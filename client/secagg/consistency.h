#pragma once

#include <map>
#include <vector>

#include "absl/status/statusor.h"
#include "client/secagg/party.h"

namespace fedgraft {

// Step 4 at a site: it signs who survived. A site signs one set per session
// (secure_site.h), so an aggregator cannot show different sets to different
// sites and collect both kinds of shares.
class Consistency {
 public:
  // The signature. PERMISSION_DENIED: survivors that did not share, this site
  // not among them, too few.
  static absl::StatusOr<Bytes> Sign(const SecureParty& party,
                                    const SecureTranscript& transcript,
                                    const KeyList& keys,
                                    const std::vector<SiteId>& sharers,
                                    const std::vector<SiteId>& survivors);

  // OK if at least the threshold of survivors signed this very set, each with
  // its pinned key. PERMISSION_DENIED otherwise.
  static absl::Status Check(const SecureParty& party,
                            const SecureTranscript& transcript,
                            const KeyList& keys,
                            const std::vector<SiteId>& survivors,
                            const std::map<SiteId, Bytes>& signatures);
};

}  // namespace fedgraft
