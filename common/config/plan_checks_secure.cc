#include "common/config/plan_checks_secure.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/config/rule_facts.h"

namespace fedgraft {
namespace {

constexpr int kSitesMin = 3;
// Half of kSecureSitesMax (common/secagg/session.h): a round takes up to twice
// the expected sites.
constexpr int kSitesMax = 512;

// Keys that nothing reads.
void CheckUnread(const Plan& plan, absl::string_view where,
                 ConfigErrors& errors) {
  const SecureAggregationSpec unset, &given = plan.secure_aggregation;
  if (given.threshold == unset.threshold &&
      given.cohort_min == unset.cohort_min) {
    return;
  }
  errors.Add("privacy.secure_aggregation",
             absl::StrCat("found its keys with ", where,
                          ", where they do nothing; expected their defaults"));
}

}  // namespace

std::string WhyNeverMasked(const Plan& plan) {
  if (IsRobustRule(plan.rule)) {
    return absl::StrCat("rule ", plan.rule.kind, " compares single updates");
  }
  const int sites = std::min(plan.quorum, plan.expected_sites);
  if (sites < kSitesMin) {
    return absl::StrCat("a quorum of ", sites,
                        ", and masks hide a site among at least ", kSitesMin);
  }
  if (plan.expected_sites > kSitesMax) {
    return absl::StrCat(plan.expected_sites, " expected sites, and masks take ",
                        "at most ", kSitesMax);
  }
  return "";
}

void CheckSecureAggregation(const Plan& plan, ConfigErrors& errors) {
  const SecureAggregationSpec& secure = plan.secure_aggregation;
  if (secure.mode == SecureMode::kOff) {
    return CheckUnread(plan, "mode off", errors);
  }
  if (secure.mode == SecureMode::kAuto) {
    const std::string why = WhyNeverMasked(plan);
    if (!why.empty()) {
      return CheckUnread(
          plan, absl::StrCat("mode auto, which comes to no masks (", why, ")"),
          errors);
    }
  }
  const int sites = plan.expected_sites;
  if (sites < kSitesMin || sites > kSitesMax) {
    errors.Add("sites.expected",
               absl::StrCat("found ", sites, "; secure aggregation expects ",
                            kSitesMin, " to ", kSitesMax,
                            " sites: between two, a sum tells each the "
                            "other's update"));
  }
  const int majority = sites / 2 + 1;
  if (secure.threshold != 0 &&
      (secure.threshold < majority || secure.threshold > sites)) {
    errors.Add(
        "privacy.secure_aggregation.threshold",
        absl::StrCat("found ", secure.threshold, "; expected 0, or ", majority,
                     " to ", sites, ": more than half of the ", sites,
                     " sites of sites.expected, and no more than all"));
  }
  if (secure.cohort_min > sites) {
    errors.Add(
        "privacy.secure_aggregation.cohort_min",
        absl::StrCat("found ", secure.cohort_min, "; expected at most the ",
                     sites, " sites of sites.expected"));
  }
}

}  // namespace fedgraft
