#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/config/plan.h"
#include "common/model/parameter_layout.h"
#include "common/model/safetensors.h"

// Which parameters a plan unfreezes: torch-free, so that aggregator and trainer
// derive the same layout from the same backbone file.

namespace fedgraft {

// What must be known of an architecture without building it.
struct Architecture {
  std::string name;
  // Head with torchvision's names: "fc", "classifier.1".
  std::string head_prefix;
  int64_t feature_dim = 0;
  // [C, feature_dim] for linear heads, [C, feature_dim, 1, 1] for SqueezeNet.
  bool head_is_convolution = false;
};
// INVALID_ARGUMENT naming the known ones.
absl::StatusOr<Architecture> FindArchitecture(std::string_view name);
// The plan's. `identity` has no tensors but the head, and is as wide as the
// plan says.
absl::StatusOr<Architecture> ArchitectureOf(const Plan& plan);

// Names and shapes of the architecture's float tensors, without the head.
std::map<std::string, std::vector<int64_t>> BackboneTensors(
    const Architecture& architecture);
// INVALID_ARGUMENT listing missing, unexpected and misshapen tensors. The head
// and num_batches_tracked may be there or not.
absl::Status CheckBackbone(const Architecture& architecture,
                           const SafetensorsFile& backbone);

// Layout of what travels: the head (num_classes rows; with a hidden branch if
// plan.hidden_dim > 0), the adapters (common/model/adapters.h) and, by
// strategy, the backbone tensors that the globs match or that lie in the top
// unfreeze_blocks blocks (common/model/blocks.h; `full`: all; `adapter` with
// `bn_tune`: the BatchNorm layers). BatchNorm:
// (a layer is matched if any of its tensors is)
// `frozen`: weight and bias of a matched layer travel, statistics do not;
// `local`: nothing of a BatchNorm layer travels; `pooled`: all of it does
// except num_batches_tracked. The head of the pretrained file is ignored; with
// personal.kind `local_head` no head travels. With rule scaffold a control
// variate beside each parameter (common/model/control_variates.h).
// INVALID_ARGUMENT that says how to mend the plan: a glob of the strategy that
// matches nothing, or one of the rate groups that matches nothing that is
// trained, more blocks than there are, `partial` with neither, an adapter that
// does not fit (a rank above the sides of a weight), nothing that travels, a
// backbone file whose names are not the architecture's.
absl::StatusOr<ParameterLayout> TrainableLayout(
    const Plan& plan, const SafetensorsFile& backbone);

// The same without the control variates of rule scaffold
// (common/model/control_variates.h).
absl::StatusOr<ParameterLayout> TravellingParameters(
    const Plan& plan, const SafetensorsFile& backbone);

// The start of a run: pretrained values, a linear head drawn from N(0, 0.01²)
// by plan.seed (bias 0), adapters and a hidden branch that do nothing yet, and
// control variates of 0;
// the same on every machine (common/model/seeded_values.h). INVALID_ARGUMENT: a
// layout that is not of this backbone, or a pretrained value not finite.
absl::StatusOr<ParameterVector> InitialTrainableSet(
    const Plan& plan, const ParameterLayout& layout,
    const SafetensorsFile& backbone);

// True if the plan unfreezes this tensor of the backbone (never the head; a
// BatchNorm layer as a whole), whether it travels or, with `local`, stays.
bool Unfreezes(const Plan& plan, const SafetensorsFile& backbone,
               std::string_view name);

// True if the plan unfreezes this BatchNorm layer ("layer4.1.bn1"), whether it
// travels or, with `local`, stays.
bool UnfreezesBatchNorm(const Plan& plan, std::string_view layer);

// True if `name` belongs to a BatchNorm layer of this file (has a running_mean
// beside it).
bool IsBatchNormTensor(const SafetensorsFile& backbone, std::string_view name);

// Matches '*' (any run of characters, dots included) and '?'.
bool GlobMatch(std::string_view glob, std::string_view name);

}  // namespace fedgraft
