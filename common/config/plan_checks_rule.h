#pragma once

#include "common/config/config_errors.h"
#include "common/config/plan.h"

namespace fedgraft {

// What the aggregation rule demands of the plan.
void CheckRule(const Plan& plan, ConfigErrors& errors);

}  // namespace fedgraft
