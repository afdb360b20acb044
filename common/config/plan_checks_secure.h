#pragma once

#include "common/config/config_errors.h"
#include "common/config/plan.h"

namespace fedgraft {

// What secure aggregation demands of the rest of a plan.
void CheckSecureAggregation(const Plan& plan, ConfigErrors& errors);

}  // namespace fedgraft
