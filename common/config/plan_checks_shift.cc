#include "common/config/plan_checks_shift.h"

#include "absl/strings/str_cat.h"
#include "common/config/identity.h"

namespace fedgraft {
namespace {

// A site is compared with the sum of all others: of fewer than three it would
// learn too much.
constexpr int kSitesMin = 4;
// A sum of sketches has room for this many sites, and twice the expected ones
// may come; and for this many classes.
constexpr int kSitesMax = 1024, kClassesMax = 128;

// What rests on a look needs one before the last round of training.
void CheckLooksInTime(const Plan& plan, const char* key, ConfigErrors& errors) {
  if (plan.shift.every == 0) {
    errors.Add(key,
               "found with shift.every 0, so that no look tells what sites "
               "differ in; expected its default, or shift.every above 0");
  } else if (plan.shift.every >= plan.rounds) {
    errors.Add(key, absl::StrCat("found with shift.every ", plan.shift.every,
                                 " of ", plan.rounds,
                                 " rounds: no training follows the first look; "
                                 "expected its default, or a smaller every"));
  }
}

// Weights of records, and what follows of shift.
void CheckRemedies(const Plan& plan, ConfigErrors& errors) {
  constexpr char kWeights[] = "local.importance_weights";
  const bool applies = plan.shift.on_shift == OnShift::kApply;
  const bool weighs = plan.importance.target != ImportanceTarget::kNone;
  if (applies) CheckLooksInTime(plan, "shift.on_shift", errors);
  if (weighs) {
    CheckLooksInTime(plan, "local.importance_weights.target", errors);
  } else if (!applies &&
             (plan.importance.flatten != ImportanceSpec().flatten ||
              plan.importance.min_ess != ImportanceSpec().min_ess)) {
    errors.Add(kWeights,
               "found its keys with target none and shift.on_shift recommend, "
               "where they do nothing; expected their defaults");
  }
}

// Scanners are counted in looks, of images.
void CheckDevices(const Plan& plan, ConfigErrors& errors) {
  if (!plan.shift.devices) return;
  if (plan.shift.every == 0) {
    errors.Add("shift.devices",
               "found true with shift.every 0, so that no look counts them; "
               "expected false, or shift.every above 0");
  }
  if (!HasBackbone(plan)) {
    errors.Add("shift.devices",
               "found true with backbone.architecture identity, whose feature "
               "vectors come from no scanner; expected false");
  }
}

}  // namespace

void CheckShift(const Plan& plan, ConfigErrors& errors) {
  CheckRemedies(plan, errors);
  CheckDevices(plan, errors);
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
