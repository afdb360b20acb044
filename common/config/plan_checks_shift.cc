#include "common/config/plan_checks_shift.h"

#include "absl/strings/str_cat.h"

namespace fedgraft {
namespace {

// A site is compared with the sum of all others: of fewer than three it would
// learn too much.
constexpr int kSitesMin = 4;
// A sum of sketches has room for this many sites, and twice the expected ones
// may come; and for this many classes.
constexpr int kSitesMax = 1024, kClassesMax = 128;

}  // namespace

void CheckShift(const Plan& plan, ConfigErrors& errors) {
  if (plan.shift.every == 0) {
    if (plan.shift.false_alarm_rate != ShiftSpec().false_alarm_rate) {
      errors.Add("shift.false_alarm_rate",
                 "found with shift.every 0, where it does nothing; expected "
                 "its default");
    }
    return;
  }
  if (plan.quorum < kSitesMin || plan.expected_sites > kSitesMax) {
    errors.Add("sites.quorum",
               absl::StrCat("found ", plan.quorum, " of ", plan.expected_sites,
                            " sites; shift tracking expects ", kSitesMin,
                            " or more of at most ", kSitesMax,
                            ": each site is compared with at least three "
                            "others taken together (or shift.every 0)"));
  }
  if (plan.num_classes() > kClassesMax) {
    errors.Add("shift.every",
               absl::StrCat("found with ", plan.num_classes(),
                            " classes; shift tracking expects at most ",
                            kClassesMax, " (or shift.every 0)"));
  }
  if (plan.hidden_dim > 0) {
    errors.Add("shift.every",
               "found with a hidden layer in the head; shift tracking compares "
               "features of a linear head (or shift.every 0)");
  }
}

}  // namespace fedgraft
