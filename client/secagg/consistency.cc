#include "client/secagg/consistency.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {

absl::StatusOr<Bytes> Consistency::Sign(const SecureParty& party,
                                        const SecureTranscript& transcript,
                                        const KeyList& keys,
                                        const std::vector<SiteId>& sharers,
                                        const std::vector<SiteId>& survivors) {
  FG_RETURN_IF_ERROR(CheckCohort(party, keys, sharers, survivors, "survivors"));
  return party.key.Sign(SurvivorStatement(transcript, survivors));
}

absl::Status Consistency::Check(const SecureParty& party,
                                const SecureTranscript& transcript,
                                const KeyList& keys,
                                const std::vector<SiteId>& survivors,
                                const std::map<SiteId, Bytes>& signatures) {
  const Bytes statement = SurvivorStatement(transcript, survivors);
  for (const auto& [site, signature] : signatures) {
    const auto pinned = party.roster.keys.find(site);
    if (!std::binary_search(survivors.begin(), survivors.end(), site) ||
        pinned == party.roster.keys.end() ||
        !VerifySignature(pinned->second, statement, signature).ok()) {
      return absl::PermissionDeniedError(
          absl::StrCat("the survivors are not signed by site ", site.value));
    }
  }
  const int threshold = party.rules.Threshold(keys.size());
  if (static_cast<int>(signatures.size()) < threshold) {
    return absl::PermissionDeniedError(absl::StrCat(
        "survivors: expected the signatures of at least ", threshold, " of ",
        keys.size(), " sites, got ", signatures.size()));
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
