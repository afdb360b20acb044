#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/train/compute.h"
#include "client/train/learner.h"
#include "common/config/plan.h"
#include "common/model/safetensors.h"

namespace fedgraft {

// The network that a plan trains, with the backbone's values, in a learner.
// `plan` and `compute` outlive it. INVALID_ARGUMENT: backbone and plan do not
// fit; errors name `backbone_path`. May throw c10::Error.
absl::StatusOr<std::unique_ptr<Learner>> MakeLearner(
    const Plan& plan, const SafetensorsFile& backbone,
    const std::string& backbone_path, const Compute& compute);

}  // namespace fedgraft
