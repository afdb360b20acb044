#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "common/config/plan.h"
#include "common/model/safetensors.h"

namespace fedgraft {

// The plan's backbone file. For `identity` a file without tensors: `path` is
// not looked at. Errors as SafetensorsFile::Open.
absl::StatusOr<SafetensorsFile> OpenBackbone(const Plan& plan,
                                             const std::string& path);

// OK if a path of a backbone file was given exactly where the plan has a
// backbone; else INVALID_ARGUMENT saying what to give.
absl::Status CheckBackbonePath(const Plan& plan, const std::string& path);

}  // namespace fedgraft
