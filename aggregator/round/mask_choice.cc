#include "aggregator/round/mask_choice.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/config/plan_checks_secure.h"
#include "common/secagg/session.h"

namespace fedgraft {
namespace {

constexpr size_t kNamesMax = 10;

std::string Names(const std::vector<SiteId>& sites) {
  std::vector<std::string> names;
  for (const SiteId& site : sites) {
    if (names.size() == kNamesMax) {
      names.push_back(absl::StrCat(sites.size() - kNamesMax, " more"));
      break;
    }
    names.push_back(site.value);
  }
  return absl::StrJoin(names, ", ");
}

}  // namespace

std::string MaskChoice::ToText() const {
  if (!is_on) {
    return absl::StrCat(
        "updates are NOT masked, the aggregator opens each of them: ", remark);
  }
  return absl::StrCat("updates are masked, the aggregator sees sums alone",
                      remark.empty() ? "" : "; ", remark);
}

MaskChoice ChooseMasks(
    const Plan& plan,
    const std::map<SiteId, std::optional<Digest>>& pinned_rosters) {
  const SecureAggregationSpec& secure = plan.secure_aggregation;
  if (secure.mode == SecureMode::kOn) return {true, ""};
  if (secure.mode == SecureMode::kOff) {
    return {false, "the plan says mode off"};
  }
  const std::string never = WhyNeverMasked(plan);
  if (!never.empty()) return {false, absl::StrCat("the plan has ", never)};

  std::map<Digest, int> holders;
  for (const auto& [site, roster] : pinned_rosters) {
    if (roster.has_value()) ++holders[*roster];
  }
  const auto largest = std::max_element(
      holders.begin(), holders.end(),
      [](const auto& a, const auto& b) { return a.second < b.second; });
  const int have = largest == holders.end() ? 0 : largest->second;
  std::vector<SiteId> others;
  for (const auto& [site, roster] : pinned_rosters) {
    if (have == 0 || roster != largest->first) others.push_back(site);
  }
  const int need = std::max(
      {plan.quorum, secure.cohort_min, secure.threshold, kSecureSitesMin});
  if (have < need) {
    return {false,
            absl::StrCat(have, " of ", pinned_rosters.size(),
                         " sites have pinned one and the same roster, expected "
                         "at least ",
                         need, "; not pinned at: ", Names(others))};
  }
  if (others.empty()) return {true, ""};
  return {true, absl::StrCat("the roster is not pinned at ", Names(others),
                             ", which may be unable to take part")};
}

}  // namespace fedgraft
