#include "common/model/adapters.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/blocks.h"
#include "common/model/seeded_values.h"

namespace fedgraft {
namespace {

constexpr char kTargetsKey[] = "strategy.adapter.targets";

using Tensors = std::map<std::string, std::vector<int64_t>>;

bool CanHaveLora(const std::string& name, const std::vector<int64_t>& shape) {
  if (!absl::EndsWith(name, ".weight")) return false;
  if (shape.size() == 2) return true;
  return shape.size() == 4 && shape[1] > 1 && shape[2] == shape[3] &&
         (shape[2] == 1 || shape[2] == 3);
}

// Each glob must match a tensor, and one that `suits`.
template <typename Suits>
absl::Status CheckTargets(const Plan& plan, const Architecture& architecture,
                          const Tensors& tensors, const Suits& suits,
                          const char* wanted) {
  for (const std::string& glob : plan.adapter.targets) {
    bool matches = false, is_suitable = false;
    for (const auto& [name, shape] : tensors) {
      if (!GlobMatch(glob, name)) continue;
      matches = true;
      is_suitable = is_suitable || suits(name, shape);
    }
    if (is_suitable) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        kTargetsKey, ": \"", glob, "\" matches ",
        matches ? "only tensors that cannot have this adapter" : "no tensor",
        " of ", architecture.name, "; expected ", wanted));
  }
  return absl::OkStatus();
}

// The layer's name without the part: "layer4.0.bn1".
std::string LayerOf(const std::string& name) {
  return name.substr(0, name.rfind('.'));
}

absl::Status CheckBatchNormTargets(const Plan& plan,
                                   const Architecture& architecture) {
  const Tensors tensors = BackboneTensors(architecture);
  const auto is_batch_norm = [&tensors](const std::string& name,
                                        const std::vector<int64_t>&) {
    return tensors.count(LayerOf(name) + ".running_mean") > 0;
  };
  FG_RETURN_IF_ERROR(CheckTargets(plan, architecture, tensors, is_batch_norm,
                                  "names of BatchNorm layers"));
  for (const auto& [name, shape] : tensors) {
    if (is_batch_norm(name, shape)) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "strategy.adapter.kind: found bn_tune; ", architecture.name,
      " has no BatchNorm layer; expected lora, lora_plain or bottleneck"));
}

double HeDeviation(int64_t inputs) {
  return std::sqrt(2.0 / static_cast<double>(inputs));
}

std::vector<float> Zeros(const TensorSpec& tensor) {
  return std::vector<float>(static_cast<size_t>(tensor.Count()), 0.0f);
}

}  // namespace

bool IsAdapterTarget(const Plan& plan, std::string_view name) {
  const std::vector<std::string>& globs = plan.adapter.targets;
  return globs.empty() || std::any_of(globs.begin(), globs.end(),
                                      [name](const std::string& glob) {
                                        return GlobMatch(glob, name);
                                      });
}

absl::StatusOr<std::vector<LoraTarget>> LoraTargets(
    const Plan& plan, const Architecture& architecture) {
  const Tensors tensors = BackboneTensors(architecture);
  FG_RETURN_IF_ERROR(CheckTargets(
      plan, architecture, tensors, CanHaveLora,
      "weights of linear layers or of 1x1 or 3x3 convolutions that are not "
      "depthwise"));
  std::vector<LoraTarget> targets;
  for (const auto& [name, shape] : tensors) {
    if (!CanHaveLora(name, shape) || !IsAdapterTarget(plan, name)) continue;
    LoraTarget target{LayerOf(name), shape[0], 1};
    for (size_t i = 1; i < shape.size(); ++i) target.columns *= shape[i];
    const int64_t side = std::min(target.rows, target.columns);
    if (plan.adapter.rank > side) {
      return absl::InvalidArgumentError(absl::StrCat(
          "strategy.adapter.rank: found ", plan.adapter.rank, "; ", name,
          " is a matrix of ", target.rows, " x ", target.columns,
          "; expected at most ", side, ", or ", kTargetsKey, " without it"));
    }
    targets.push_back(std::move(target));
  }
  if (targets.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("strategy.adapter.kind: ", architecture.name,
                     " has no weight that can have a low-rank adapter"));
  }
  return targets;
}

absl::StatusOr<std::vector<BottleneckTarget>> BottleneckTargets(
    const Plan& plan, const Architecture& architecture) {
  const Tensors tensors = BackboneTensors(architecture);
  const std::vector<Block> blocks = BlocksFromTop(architecture);
  const auto suits = [&blocks](std::string_view name, const auto&) {
    return std::any_of(blocks.begin(), blocks.end(), [&](const Block& block) {
      return block.channels > 0 && block.Owns(name);
    });
  };
  FG_RETURN_IF_ERROR(
      CheckTargets(plan, architecture, tensors, suits, "parameters of blocks"));
  std::vector<BottleneckTarget> targets;
  for (const Block& block : blocks) {
    const bool is_target =
        block.channels > 0 &&
        std::any_of(tensors.begin(), tensors.end(), [&](const auto& tensor) {
          return block.Owns(tensor.first) &&
                 IsAdapterTarget(plan, tensor.first);
        });
    if (!is_target) continue;
    const int64_t hidden = block.channels / plan.adapter.reduction;
    if (hidden < 1) {
      return absl::InvalidArgumentError(absl::StrCat(
          "strategy.adapter.reduction: found ", plan.adapter.reduction, "; ",
          block.name, " has ", block.channels, " channels; expected at most ",
          block.channels, ", or ", kTargetsKey, " without it"));
    }
    targets.push_back({block.name, block.channels, hidden});
  }
  if (targets.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("strategy.adapter.kind: ", architecture.name,
                     " has no block that can have a bottleneck adapter"));
  }
  return targets;
}

std::vector<float> LoraA(const Plan& plan, const LoraTarget& target) {
  return SeededTensor(plan.seed, target.a(), plan.adapter.rank * target.columns,
                      std::sqrt(1.0 / static_cast<double>(target.columns)));
}

std::vector<TensorSpec> HeadTensors(const Plan& plan,
                                    const Architecture& architecture) {
  const std::string& head = architecture.head_prefix;
  const int64_t classes = plan.num_classes(), hidden = plan.hidden_dim;
  std::vector<TensorSpec> tensors = {
      {head + ".weight", {classes, architecture.feature_dim}}};
  if (hidden > 0) {
    tensors.push_back(
        {head + ".hidden.weight", {hidden, architecture.feature_dim}});
    tensors.push_back({head + ".out.weight", {classes, hidden}});
  }
  if (architecture.head_is_convolution) {
    for (TensorSpec& tensor : tensors) {
      tensor.shape.insert(tensor.shape.end(), {1, 1});
    }
  }
  tensors.push_back({head + ".bias", {classes}});
  if (hidden > 0) tensors.push_back({head + ".hidden.bias", {hidden}});
  return tensors;
}

absl::StatusOr<std::vector<TensorSpec>> AdapterTensors(
    const Plan& plan, const Architecture& architecture) {
  std::vector<TensorSpec> tensors;
  if (plan.strategy != StrategyKind::kAdapter) return tensors;
  const int64_t rank = plan.adapter.rank;
  const AdapterKind kind = plan.adapter.kind;
  switch (kind) {
    case AdapterKind::kLora:
    case AdapterKind::kLoraPlain: {
      FG_ASSIGN_OR_RETURN(const std::vector<LoraTarget> targets,
                          LoraTargets(plan, architecture));
      for (const LoraTarget& target : targets) {
        tensors.push_back({target.b(), {target.rows, rank}});
        if (kind == AdapterKind::kLora) continue;
        tensors.push_back({target.a(), {rank, target.columns}});
      }
      break;
    }
    case AdapterKind::kBottleneck: {
      FG_ASSIGN_OR_RETURN(const std::vector<BottleneckTarget> targets,
                          BottleneckTargets(plan, architecture));
      for (const BottleneckTarget& target : targets) {
        const std::string name = target.block + ".adapter.";
        const int64_t wide = target.channels, hidden = target.hidden;
        tensors.push_back({name + "down.weight", {hidden, wide, 1, 1}});
        tensors.push_back({name + "down.bias", {hidden}});
        tensors.push_back({name + "up.weight", {wide, hidden, 1, 1}});
        tensors.push_back({name + "up.bias", {wide}});
      }
      break;
    }
    case AdapterKind::kBatchNormTune:
      FG_RETURN_IF_ERROR(CheckBatchNormTargets(plan, architecture));
      break;
  }
  return tensors;
}

std::vector<float> GraftedStart(const Plan& plan,
                                const Architecture& architecture,
                                const TensorSpec& tensor) {
  const std::string& name = tensor.name;
  const std::string& head = architecture.head_prefix;
  if (name == head + ".hidden.bias" || name == head + ".out.weight") {
    return Zeros(tensor);
  }
  if (name == head + ".hidden.weight" ||
      absl::EndsWith(name, ".adapter.down.weight")) {
    return SeededTensor(plan.seed, name, tensor.Count(),
                        HeDeviation(tensor.shape[1]));
  }
  if (absl::EndsWith(name, ".lora_a")) {
    return LoraA(plan, {LayerOf(name), 0, tensor.shape[1]});
  }
  if (absl::EndsWith(name, ".lora_b") || absl::StrContains(name, ".adapter.")) {
    return Zeros(tensor);
  }
  return {};
}

}  // namespace fedgraft
