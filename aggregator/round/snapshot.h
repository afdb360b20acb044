#pragma once

#include "aggregator/round/coordinator.h"
#include "aggregator/round/round_context.h"

namespace fedgraft {

// The coordinator's state for people. `is_uploading`: whether a site has an
// unfinished upload.
CoordinatorSnapshot MakeSnapshot(
    const RoundContext& context,
    const std::function<bool(const SiteId&)>& is_uploading);

}  // namespace fedgraft
