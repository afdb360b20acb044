#pragma once

#include "common/config/config_errors.h"
#include "common/config/plan.h"

namespace fedgraft {

void CheckShift(const Plan& plan, ConfigErrors& errors);

}  // namespace fedgraft
