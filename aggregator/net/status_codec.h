#pragma once

#include <vector>

#include "absl/time/time.h"
#include "aggregator/round/coordinator.h"
#include "proto/admin.pb.h"

namespace fedgraft {

// What operators see. `now` (wall) gives elapsed times; a site counts as
// connected if it was heard of within the last two polls.
pb::StatusReply StatusToWire(const std::string& federation,
                             const CoordinatorSnapshot& snapshot,
                             const std::vector<RoundRecord>& history,
                             bool with_history, absl::Time now);

}  // namespace fedgraft
