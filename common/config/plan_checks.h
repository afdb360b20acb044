#pragma once

#include "common/config/config_errors.h"
#include "common/config/plan.h"

namespace fedgraft {

// What must hold between the fields of a plan.
void CheckPlan(const Plan& plan, ConfigErrors& errors);

}  // namespace fedgraft
