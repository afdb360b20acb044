#pragma once

#include "common/config/plan.h"
#include "proto/plan.pb.h"

namespace fedgraft {

// The domain form of a message that passed the checks of its schema, without
// bytes and hash.
Plan PlanFromMessage(const pb::Plan& message);

}  // namespace fedgraft
