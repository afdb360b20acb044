#pragma once

#include <string>

#include "common/config/plan.h"

namespace fedgraft {

// The plan with the field names of its YAML, every default filled in.
std::string PlanToJson(const Plan& plan);

}  // namespace fedgraft
