#include "client/train/parameter_groups.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "client/train/fused_optimizer.h"
#include "client/train/schedule.h"
#include "common/model/trainable_set.h"

namespace fedgraft {

double RateMultiplier(const LayerRateSpec& spec,
                      const TrainedParameter& parameter) {
  switch (spec.kind) {
    case LayerRateKind::kUniform:
      return 1;
    case LayerRateKind::kBlockDecay:
      return std::pow(spec.factor, parameter.depth);
    case LayerRateKind::kBackbone:
      return parameter.depth == 0 ? 1 : spec.factor;
    case LayerRateKind::kGroups:
      for (const LayerRateSpec::Group& group : spec.groups) {
        if (GlobMatch(group.glob, parameter.name)) return group.multiplier;
      }
      return 1;
  }
  return 1;
}

int DepthInRound(const LayerRateSpec& spec, int round,
                 const TrainedParameters& trained) {
  std::set<int> depths;
  for (const TrainedParameter& parameter : trained) {
    depths.insert(parameter.depth);
  }
  if (spec.unfreeze_every == 0) return *depths.rbegin();
  const size_t steps = (round - 1) / spec.unfreeze_every;
  return *std::next(depths.begin(), std::min(steps, depths.size() - 1));
}

std::unique_ptr<torch::optim::Optimizer> MakeOptimizer(
    const Plan& plan, int round, const TrainedParameters& parameters) {
  const OptimizerSpec& spec = plan.optimizer;
  const double rate = LearningRate(plan, round);
  std::map<double, std::vector<torch::Tensor>> by_multiplier;
  for (const TrainedParameter& parameter : parameters) {
    by_multiplier[RateMultiplier(plan.layer_rates, parameter)].push_back(
        parameter.value);
  }
  std::vector<torch::optim::OptimizerParamGroup> groups;
  if (spec.kind == OptimizerKind::kAdamW) {
    const auto options = [&spec](double group_rate) {
      return torch::optim::AdamWOptions(group_rate)
          .betas(std::make_tuple(spec.beta1, spec.beta2))
          .weight_decay(spec.weight_decay);
    };
    for (auto& [multiplier, values] : by_multiplier) {
      groups.emplace_back(std::move(values),
                          std::make_unique<torch::optim::AdamWOptions>(
                              options(rate * multiplier)));
    }
    return MakeAdamW(std::move(groups), options(rate));
  }
  const auto options = [&spec](double group_rate) {
    return torch::optim::SGDOptions(group_rate)
        .momentum(spec.momentum)
        .weight_decay(spec.weight_decay);
  };
  for (auto& [multiplier, values] : by_multiplier) {
    groups.emplace_back(
        std::move(values),
        std::make_unique<torch::optim::SGDOptions>(options(rate * multiplier)));
  }
  return MakeSgd(std::move(groups), options(rate));
}

}  // namespace fedgraft
