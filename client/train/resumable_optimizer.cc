#include "client/train/resumable_optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace fedgraft {
namespace {

constexpr double kEpsilon = 1e-8;  // PyTorch's

}  // namespace

ResumableOptimizer::ResumableOptimizer(
    const OptimizerSpec& spec, std::map<std::string, torch::Tensor> parameters)
    : spec_(spec) {
  for (auto& [name, value] : parameters) {
    Slot slot;
    slot.first = torch::zeros_like(value);
    if (spec_.kind == OptimizerKind::kAdamW) {
      slot.second = torch::zeros_like(value);
    }
    slot.value = std::move(value);
    slots_.emplace(name, std::move(slot));
  }
}

void ResumableOptimizer::Step(double rate, int64_t step) {
  torch::NoGradGuard no_grad;
  for (auto& [name, slot] : slots_) {
    const torch::Tensor gradient = slot.value.grad();
    if (!gradient.defined()) continue;
    if (spec_.kind == OptimizerKind::kAdamW) {
      StepAdamW(rate, step, slot, gradient);
    } else {
      StepSgd(rate, slot, gradient);
    }
    slot.value.mutable_grad().reset();
  }
}

void ResumableOptimizer::StepSgd(double rate, Slot& slot,
                                 const torch::Tensor& gradient) const {
  slot.first.mul_(spec_.momentum).add_(gradient);
  if (slot.value.dim() > 1) slot.first.add_(slot.value, spec_.weight_decay);
  slot.value.sub_(slot.first, rate);
}

// Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019,
// algorithm 2.
void ResumableOptimizer::StepAdamW(double rate, int64_t step, Slot& slot,
                                   const torch::Tensor& gradient) const {
  if (slot.value.dim() > 1) slot.value.mul_(1 - rate * spec_.weight_decay);
  slot.first.mul_(spec_.beta1).add_(gradient, 1 - spec_.beta1);
  slot.second.mul_(spec_.beta2).addcmul_(gradient, gradient, 1 - spec_.beta2);
  const auto power = static_cast<double>(step);
  const double correction1 = 1 - std::pow(spec_.beta1, power);
  const double correction2 = 1 - std::pow(spec_.beta2, power);
  const torch::Tensor scale =
      (slot.second / correction2).sqrt_().add_(kEpsilon);
  slot.value.addcdiv_(slot.first, scale, -rate / correction1);
}

std::map<std::string, torch::Tensor> ResumableOptimizer::State() const {
  std::map<std::string, torch::Tensor> state;
  for (const auto& [name, slot] : slots_) {
    if (spec_.kind == OptimizerKind::kAdamW) {
      state["mean/" + name] = slot.first;
      state["square/" + name] = slot.second;
    } else {
      state["velocity/" + name] = slot.first;
    }
  }
  return state;
}

double WarmupCosineRate(double peak, int64_t step, int64_t steps,
                        int64_t warmup_steps) {
  if (step <= warmup_steps) {
    return peak * static_cast<double>(step) / static_cast<double>(warmup_steps);
  }
  const auto falling =
      static_cast<double>(std::max<int64_t>(1, steps - warmup_steps));
  const double done = static_cast<double>(step - warmup_steps - 1) / falling;
  return peak * 0.5 * (1 + std::cos(std::numbers::pi * std::min(done, 1.0)));
}

}  // namespace fedgraft
