#include "common/config/plan_checks_secure.h"

#include "absl/strings/str_cat.h"

namespace fedgraft {
namespace {

constexpr int kSitesMin = 3;
// Half of kSecureSitesMax (common/secagg/session.h): a round takes up to twice
// the expected sites.
constexpr int kSitesMax = 512;

}  // namespace

void CheckSecureAggregation(const Plan& plan, ConfigErrors& errors) {
  const SecureAggregationSpec& secure = plan.secure_aggregation;
  if (!secure.is_on) return;
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
