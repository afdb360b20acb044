#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/agent/run_context.h"
#include "common/config/plan.h"
#include "common/protocol/messages.h"

namespace fedgraft {

// Whether `task` belongs to the run as its plan describes it: INVALID_ARGUMENT
// naming the round, what was expected and what came.
absl::Status CheckTask(const RunContext& run, const Task& task);

// The split of an evaluate task. INVALID_ARGUMENT: none of train, val, test.
absl::StatusOr<Split> ParseSplit(const std::string& name);

}  // namespace fedgraft
