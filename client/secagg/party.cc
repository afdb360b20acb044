#include "client/secagg/party.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace fedgraft {

absl::Status CheckCohort(const SecureParty& party, const KeyList& keys,
                         const std::vector<SiteId>& among,
                         const std::vector<SiteId>& sites,
                         absl::string_view what) {
  const absl::string_view name = what;
  if (std::adjacent_find(sites.begin(), sites.end(),
                         std::greater_equal<SiteId>()) != sites.end()) {
    return absl::PermissionDeniedError(
        absl::StrCat(name, ": expected different sites in canonical order"));
  }
  for (const SiteId& site : sites) {
    if (std::find(among.begin(), among.end(), site) == among.end()) {
      return absl::PermissionDeniedError(absl::StrCat(
          name, ": site ", site.value, " was not in the step before"));
    }
  }
  if (std::find(sites.begin(), sites.end(), party.site) == sites.end()) {
    return absl::PermissionDeniedError(
        absl::StrCat(name, ": this site is not among them"));
  }
  const int least = party.rules.SurvivorsMin(keys.size());
  if (static_cast<int>(sites.size()) < least) {
    return absl::PermissionDeniedError(
        absl::StrCat(name, ": expected at least ", least, " of the ",
                     keys.size(), " sites, got ", sites.size()));
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
