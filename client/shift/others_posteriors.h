#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "client/shift/site_view.h"
#include "common/shift/label_shift.h"

namespace fedgraft {

// What the others' head makes of the site's features, without its labels.
struct OthersPosteriors {
  std::vector<double> posteriors;  // [n, C]
  std::vector<double> shares;      // [C], of the classes among the others
  // The shares at the site that explain its posteriors best.
  PriorEstimate prior;
};

// FAILED_PRECONDITION: the others leave their head open, have no record of a
// class, or the features leave the shares open.
absl::StatusOr<OthersPosteriors> JudgeByOthers(const SiteView& view);

}  // namespace fedgraft
