#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/base/ids.h"
#include "common/crypto/ed25519.h"
#include "common/net/roster.h"
#include "common/secagg/session.h"

// A site's side of secure aggregation: a class per step, and secure_site.h,
// which keeps what must outlive a crash. Everything that the aggregator says is
// refused unless it fits the pinned roster, the session and what was said
// before.

namespace fedgraft {

// What a site brings to every step.
struct SecureParty {
  SiteId site;
  const SigningKey& key;  // of its certificate
  Roster roster;          // as pinned at this site
  SecureRules rules;
};

// OK if `sites` are at least rules.SurvivorsMin(keys.size()) of `among`, this
// site with them, in canonical order. PERMISSION_DENIED saying what is wrong;
// `what`: "sharers", say.
absl::Status CheckCohort(const SecureParty& party, const KeyList& keys,
                         const std::vector<SiteId>& among,
                         const std::vector<SiteId>& sites,
                         absl::string_view what);

}  // namespace fedgraft
