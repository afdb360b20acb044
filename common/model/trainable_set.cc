#include "common/model/trainable_set.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/config/rule_facts.h"
#include "common/model/adapters.h"
#include "common/model/blocks.h"
#include "common/model/control_variates.h"
#include "common/model/seeded_values.h"

namespace fedgraft {
namespace {

constexpr double kHeadDeviation = 0.01;

// The layer's name with its dot: "layer4.0.bn1.".
std::string LayerOf(std::string_view name) {
  const size_t dot = name.rfind('.');
  return std::string(
      name.substr(0, dot == std::string_view::npos ? 0 : dot + 1));
}

bool IsHead(const Architecture& architecture, std::string_view name) {
  return absl::StartsWith(absl::string_view(name.data(), name.size()),
                          architecture.head_prefix + ".");
}

bool IsCounter(std::string_view name) {
  return absl::EndsWith(absl::string_view(name.data(), name.size()),
                        ".num_batches_tracked");
}

TensorKind KindOf(std::string_view name) {
  const absl::string_view text(name.data(), name.size());
  if (absl::EndsWith(text, ".running_mean")) return TensorKind::kBatchNormMean;
  if (absl::EndsWith(text, ".running_var")) return TensorKind::kBatchNormVar;
  return TensorKind::kWeight;
}

// Whether a `partial` plan names the tensor: by a glob, or by its block.
bool IsPicked(const Plan& plan, const Architecture& architecture,
              std::string_view name) {
  for (const std::string& glob : plan.unfreeze) {
    if (GlobMatch(glob, name)) return true;
  }
  if (plan.unfreeze_blocks == 0) return false;
  const std::vector<Block> blocks = BlocksFromTop(architecture);
  const size_t count =
      std::min(blocks.size(), static_cast<size_t>(plan.unfreeze_blocks));
  return std::any_of(blocks.begin(), blocks.begin() + count,
                     [name](const Block& block) { return block.Owns(name); });
}

// Whether an unfrozen tensor is sent.
bool Travels(const Plan& plan, const SafetensorsFile& backbone,
             std::string_view name) {
  if (!IsBatchNormTensor(backbone, name)) return true;
  switch (plan.batch_norm) {
    case BatchNormPolicy::kFrozen:
      return KindOf(name) == TensorKind::kWeight;
    case BatchNormPolicy::kLocal:
      return false;
    case BatchNormPolicy::kPooled:
      return true;
  }
  return false;
}

absl::Status CheckPartial(const Plan& plan, const Architecture& architecture,
                          const SafetensorsFile& backbone) {
  if (plan.unfreeze.empty() && plan.unfreeze_blocks == 0) {
    return absl::InvalidArgumentError(
        "strategy partial needs at least one glob in strategy.unfreeze, or "
        "strategy.unfreeze_blocks");
  }
  const size_t blocks = BlocksFromTop(architecture).size();
  if (plan.unfreeze_blocks > static_cast<int>(blocks)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "strategy.unfreeze_blocks: found ", plan.unfreeze_blocks, "; ",
        architecture.name, " has ", blocks, " blocks; expected at most ",
        blocks, ", or strategy full"));
  }
  for (const std::string& glob : plan.unfreeze) {
    bool matches = GlobMatch(glob, architecture.head_prefix + ".weight") ||
                   GlobMatch(glob, architecture.head_prefix + ".bias");
    for (const auto& [name, view] : backbone.tensors()) {
      matches = matches || GlobMatch(glob, name);
    }
    if (!matches) {
      return absl::InvalidArgumentError(
          absl::StrCat("strategy.unfreeze: \"", glob,
                       "\" matches no tensor of ", architecture.name));
    }
  }
  return absl::OkStatus();
}

// Every rate group has something to be the rate of.
absl::Status CheckRateGroups(const Plan& plan,
                             const std::vector<std::string>& trained) {
  if (plan.layer_rates.kind != LayerRateKind::kGroups) return absl::OkStatus();
  for (const LayerRateSpec::Group& group : plan.layer_rates.groups) {
    const bool matches = std::any_of(trained.begin(), trained.end(),
                                     [&group](const std::string& name) {
                                       return GlobMatch(group.glob, name);
                                     });
    if (matches) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "local.layer_rates.groups: \"", group.glob, "\" matches none of the ",
        trained.size(), " tensors that the plan trains, such as ",
        trained.back(),
        "; correct the glob, or let strategy unfreeze what it means"));
  }
  return absl::OkStatus();
}

}  // namespace

bool Unfreezes(const Plan& plan, const SafetensorsFile& backbone,
               std::string_view name) {
  const auto architecture = ArchitectureOf(plan);
  if (!architecture.ok() || IsHead(*architecture, name) ||
      backbone.tensors().count(std::string(name)) == 0) {
    return false;
  }
  if (IsBatchNormTensor(backbone, name)) {
    std::string layer = LayerOf(name);
    layer.pop_back();
    return UnfreezesBatchNorm(plan, layer);
  }
  switch (plan.strategy) {
    case StrategyKind::kLinearProbe:
    case StrategyKind::kFeatureExtraction:
    case StrategyKind::kAdapter:
      return false;
    case StrategyKind::kFull:
      return true;
    case StrategyKind::kPartial:
      return IsPicked(plan, *architecture, name);
  }
  return false;
}

bool UnfreezesBatchNorm(const Plan& plan, std::string_view layer) {
  const auto any_part = [layer](const auto& matches) {
    for (const char* part : {"weight", "bias", "running_mean", "running_var"}) {
      if (matches(absl::StrCat(std::string(layer), ".", part))) return true;
    }
    return false;
  };
  switch (plan.strategy) {
    case StrategyKind::kLinearProbe:
    case StrategyKind::kFeatureExtraction:
      return false;
    case StrategyKind::kFull:
      return true;
    case StrategyKind::kAdapter:
      return plan.adapter.kind == AdapterKind::kBatchNormTune &&
             any_part([&plan](const std::string& name) {
               return IsAdapterTarget(plan, name);
             });
    case StrategyKind::kPartial:
      break;
  }
  const auto architecture = FindArchitecture(plan.architecture);
  return architecture.ok() && any_part([&](const std::string& name) {
           return IsPicked(plan, *architecture, name);
         });
}

absl::StatusOr<ParameterLayout> TrainableLayout(
    const Plan& plan, const SafetensorsFile& backbone) {
  FG_ASSIGN_OR_RETURN(ParameterLayout layout,
                      TravellingParameters(plan, backbone));
  if (HasControlVariates(plan.rule)) return AddControlVariates(layout);
  return layout;
}

absl::StatusOr<ParameterLayout> TravellingParameters(
    const Plan& plan, const SafetensorsFile& backbone) {
  FG_ASSIGN_OR_RETURN(const Architecture architecture, ArchitectureOf(plan));
  FG_RETURN_IF_ERROR(CheckBackbone(architecture, backbone));
  if (plan.strategy == StrategyKind::kPartial) {
    FG_RETURN_IF_ERROR(CheckPartial(plan, architecture, backbone));
  }
  std::vector<TensorSpec> tensors = HeadTensors(plan, architecture);
  std::vector<std::string> trained;  // whether it travels or stays
  for (const TensorSpec& spec : tensors) trained.push_back(spec.name);
  if (plan.personal.kind == PersonalKind::kLocalHead) tensors.clear();
  FG_ASSIGN_OR_RETURN(const std::vector<TensorSpec> adapters,
                      AdapterTensors(plan, architecture));
  for (const TensorSpec& spec : adapters) trained.push_back(spec.name);
  tensors.insert(tensors.end(), adapters.begin(), adapters.end());
  for (const auto& [name, view] : backbone.tensors()) {
    if (IsCounter(name) || !Unfreezes(plan, backbone, name)) continue;
    trained.push_back(name);
    if (Travels(plan, backbone, name)) {
      tensors.push_back({name, view.shape, KindOf(name)});
    }
  }
  FG_RETURN_IF_ERROR(CheckRateGroups(plan, trained));
  if (tensors.empty()) {
    return absl::InvalidArgumentError(
        "nothing travels: the head stays at the sites (personal.kind "
        "local_head), and strategy unfreezes nothing else that is sent");
  }
  return ParameterLayout::Create(std::move(tensors));
}

absl::StatusOr<ParameterVector> InitialTrainableSet(
    const Plan& plan, const ParameterLayout& layout,
    const SafetensorsFile& backbone) {
  FG_ASSIGN_OR_RETURN(const Architecture architecture, ArchitectureOf(plan));
  std::mt19937_64 random(plan.seed);
  ParameterVector values(static_cast<size_t>(layout.Count()), 0.0f);
  for (size_t i = 0; i < layout.tensors().size(); ++i) {
    const TensorSpec& spec = layout.tensors()[i];
    if (spec.name.starts_with(kControlVariatePrefix)) continue;
    float* first = values.data() + layout.Offset(i);
    if (spec.name == architecture.head_prefix + ".weight") {
      for (int64_t k = 0; k < spec.Count(); ++k) {
        first[k] = static_cast<float>(kHeadDeviation * NextNormal(random));
      }
    }
    const std::vector<float> start = GraftedStart(plan, architecture, spec);
    if (!start.empty()) std::copy(start.begin(), start.end(), first);
    if (!start.empty() || IsHead(architecture, spec.name)) continue;
    FG_ASSIGN_OR_RETURN(const std::vector<float> pretrained,
                        backbone.ReadFloats(spec.name));
    if (backbone.tensors().at(spec.name).shape != spec.shape) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor ", spec.name, " has another shape in the backbone file"));
    }
    for (float value : pretrained) {
      if (!std::isfinite(value)) {
        return absl::InvalidArgumentError(absl::StrCat(
            "tensor ", spec.name, " of the backbone file is not finite"));
      }
      *first++ = value;
    }
  }
  return values;
}

bool IsBatchNormTensor(const SafetensorsFile& backbone, std::string_view name) {
  return backbone.tensors().count(LayerOf(name) + "running_mean") > 0;
}

bool GlobMatch(std::string_view glob, std::string_view name) {
  size_t g = 0, n = 0;
  // Where to go back to: after the last '*', and what it then swallows.
  size_t star = std::string_view::npos, swallowed = 0;
  while (n < name.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = ++g;
      swallowed = n;
    } else if (g < glob.size() && (glob[g] == '?' || glob[g] == name[n])) {
      ++g;
      ++n;
    } else if (star != std::string_view::npos) {
      g = star;
      n = ++swallowed;
    } else {
      return false;
    }
  }
  while (g < glob.size() && glob[g] == '*') ++g;
  return g == glob.size();
}

}  // namespace fedgraft
