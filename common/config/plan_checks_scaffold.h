#pragma once

#include "common/config/config_errors.h"
#include "common/config/plan.h"

namespace fedgraft {

// What rule scaffold demands of a plan. REQUIRES: the plan has it.
void CheckScaffold(const Plan& plan, ConfigErrors& errors);

}  // namespace fedgraft
