#include "client/secagg/unmask.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/secagg/consistency.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace fedgraft {

absl::StatusOr<ReleasedShares> Unmask::Release(
    const SecureParty& party, const SiteSecrets& secrets,
    const ShareKeys& shared, const std::vector<SiteId>& sharers,
    const SurvivorProof& proof) {
  FG_RETURN_IF_ERROR(Consistency::Check(party, shared.transcript(),
                                        shared.keys(), proof.survivors,
                                        proof.signatures));
  for (const auto& [site, sealed] : proof.shares) {
    if (site == party.site ||
        !std::binary_search(sharers.begin(), sharers.end(), site)) {
      return absl::PermissionDeniedError(absl::StrCat(
          "shares by site ", site.value, ", which did not share any"));
    }
  }
  ReleasedShares released;
  const auto release = [&](const SiteId& site, const SharePair& pair) {
    const bool survived = std::binary_search(proof.survivors.begin(),
                                             proof.survivors.end(), site);
    released[site] =
        survived
            ? ReleasedShare{ShareKind::kSelf, ToBytes(pair.self_seed.span())}
            : ReleasedShare{ShareKind::kMaskKey, ToBytes(pair.mask_key.span())};
  };
  release(party.site, shared.own());
  for (const auto& [site, sealed] : proof.shares) {
    const auto pair =
        OpenShares(secrets.share_key(), shared.keys().at(site).share_key,
                   shared.transcript(), site, party.site, sealed);
    if (pair.ok()) {
      release(site, *pair);
    } else {
      FG_LOG_WARNING("{}", std::string(pair.status().message()));
    }
  }
  return released;
}

}  // namespace fedgraft
