#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/agent/agent_state.h"
#include "common/base/bytes.h"
#include "common/config/plan.h"
#include "common/model/parameter_layout.h"
#include "common/protocol/messages.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// A run that this site verified, allowed and prepared. Shared, immutable.
struct RunContext {
  RunDescriptor descriptor;
  // Its secure_aggregation.is_on: whether this site's updates are masked.
  Plan plan;
  RunFiles files;
  std::string backbone_path;  // empty: the plan has none
  std::shared_ptr<const ParameterLayout> layout;
  uint64_t train_samples = 0;  // at this site
  // Mode auto at a site that takes part either way: the first task says.
  bool masks_undecided = false;
};

// Checks what a run says of itself: the plan's digest, that it parses, and that
// the run key is signed by `aggregator_key` (Ed25519) for this run and plan.
// INVALID_ARGUMENT or PERMISSION_DENIED naming the run and what does not fit.
absl::StatusOr<Plan> VerifyRun(const RunDescriptor& descriptor,
                               ByteSpan aggregator_key);

// Names, shapes and kinds of the trainable set in a safetensors file. Kinds
// follow from torch's names of BatchNorm statistics. Errors name the file.
absl::StatusOr<ParameterLayout> ReadModelLayout(FileStore& files,
                                                const std::string& path);

}  // namespace fedgraft
