#pragma once

#include <map>
#include <optional>
#include <string>

#include "common/base/digest.h"
#include "common/base/ids.h"
#include "common/config/plan.h"

namespace fedgraft {

// Whether a run's updates are masked, and why.
struct MaskChoice {
  bool is_on = false;
  // Off: why. On: which sites are left out, if any. For people.
  std::string remark;

  // A whole sentence without a full stop.
  std::string ToText() const;
  bool operator==(const MaskChoice&) const = default;
};

// A pure function of the plan and of the sites that have joined, each with the
// digest of the roster that it has pinned. Mode auto is on if the plan can be
// masked (WhyNeverMasked) and enough sites for a quorum and a sum have pinned
// one and the same roster: each of them has seen that it is in it, so they know
// each other. Which sites demand masks is their own affair: those that do take
// no part in a run without.
MaskChoice ChooseMasks(
    const Plan& plan,
    const std::map<SiteId, std::optional<Digest>>& pinned_rosters);

}  // namespace fedgraft
