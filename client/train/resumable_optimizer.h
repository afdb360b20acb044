#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <string>

#include "common/config/plan.h"

namespace fedgraft {

// SGD with momentum, or AdamW, whose whole state can be read and set, so that
// training goes on after a crash with the same bytes. The steps are PyTorch's
// (torch.optim.SGD, AdamW), except that matrices and kernels alone decay, not
// biases and BatchNorm.
class ResumableOptimizer {
 public:
  // The parameters share storage with the network. Moments start at 0.
  ResumableOptimizer(const OptimizerSpec& spec,
                     std::map<std::string, torch::Tensor> parameters);

  // Step `step` (from 1) at this learning rate, of the parameters that have a
  // gradient; clears the gradients.
  void Step(double rate, int64_t step);

  // Moments by name, sharing storage: "mean/<parameter>" and
  // "square/<parameter>", or "velocity/<parameter>".
  std::map<std::string, torch::Tensor> State() const;

 private:
  struct Slot {
    torch::Tensor value, first, second;
  };
  void StepSgd(double rate, Slot& slot, const torch::Tensor& gradient) const;
  void StepAdamW(double rate, int64_t step, Slot& slot,
                 const torch::Tensor& gradient) const;

  const OptimizerSpec spec_;
  std::map<std::string, Slot> slots_;
};

// Linear warm-up over the first `warmup_steps` steps, then half a cosine down
// to almost 0 at the last of `steps`. `step` counts from 1.
double WarmupCosineRate(double peak, int64_t step, int64_t steps,
                        int64_t warmup_steps);

}  // namespace fedgraft
