#pragma once

#include <cstddef>
#include <vector>

#include "absl/types/span.h"
#include "common/base/digest.h"
#include "common/base/ids.h"

namespace fedgraft {

// Deals sites into `groups` groups whose sizes differ by one at most: indices
// into `sites`, ascending. Anew in every round, so that a site does not always
// share a group with the same others, yet a function of the arguments alone:
// whoever repeats the plan gets the same groups. `plan`: its hash.
// REQUIRES: 1 <= groups <= sites.size(), different sites.
std::vector<std::vector<size_t>> DealIntoGroups(const Digest& plan,
                                                RoundId round,
                                                absl::Span<const SiteId> sites,
                                                size_t groups);

}  // namespace fedgraft
