#pragma once

#include "common/config/config_errors.h"
#include "common/config/plan.h"

namespace fedgraft {

// What differential privacy asks of the rest of a plan: that all that training
// lets out carries its noise.
void CheckDifferentialPrivacy(const Plan& plan, ConfigErrors& errors);

}  // namespace fedgraft
