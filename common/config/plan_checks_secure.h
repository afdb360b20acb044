#pragma once

#include <string>

#include "common/config/config_errors.h"
#include "common/config/plan.h"

namespace fedgraft {

// What secure aggregation demands of the rest of a plan.
void CheckSecureAggregation(const Plan& plan, ConfigErrors& errors);

// Why no run of a plan of mode auto can be masked, for people; empty if one
// can, given sites that have pinned a roster.
std::string WhyNeverMasked(const Plan& plan);

}  // namespace fedgraft
