#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/config/plan.h"
#include "common/model/safetensors.h"

namespace fedgraft {

// The weights W + alpha / rank B A of a plan with low-rank adapters, by the
// backbone's names; none for other plans. B, and of `lora_plain` also A, are of
// the trainable set; the fixed A of `lora` is made from the plan. Summed in
// double. INVALID_ARGUMENT: a tensor missing or misshapen.
absl::StatusOr<std::map<std::string, std::vector<float>>> MergeLora(
    const Plan& plan, const SafetensorsFile& backbone,
    const SafetensorsFile& trained);

// True for a tensor that MergeLora merges: it is not part of an export.
bool IsLoraTensor(const std::string& name);

}  // namespace fedgraft
