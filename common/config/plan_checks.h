#pragma once

#include "common/config/config_errors.h"
#include "common/config/plan.h"
#include "proto/plan.pb.h"

namespace fedgraft {

// The domain form of a message that passed the checks of its schema, without
// bytes and hash.
Plan PlanFromMessage(const pb::Plan& message);

// What must hold between the fields of a plan.
void CheckPlan(const Plan& plan, ConfigErrors& errors);

}  // namespace fedgraft
