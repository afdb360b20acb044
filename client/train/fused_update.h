#pragma once

#include <cstdint>

// One step of an optimiser for a run of values, in one pass over memory; as
// PyTorch's SGD and AdamW, within float rounding. Values are independent of
// each other, so the result does not depend on how they are split up.

namespace fedgraft {

struct SgdUpdate {
  float rate = 0, momentum = 0, weight_decay = 0;
  bool first = true;  // velocities start as the gradient
};
// velocity is not looked at (and may be null) without momentum.
void UpdateSgd(const SgdUpdate& step, int64_t count, const float* gradient,
               float* velocity, float* value);

// Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019,
// algorithm 2.
struct AdamWUpdate {
  AdamWUpdate(double rate, double beta1, double beta2, double epsilon,
              double weight_decay, int64_t step);  // from 1
  float keep;                                      // 1 - rate * weight_decay
  float beta1, beta2, gain1, gain2;                // gain = 1 - beta
  float step_size, inverse_root2;                  // bias corrections included
  float epsilon;
};
void UpdateAdamW(const AdamWUpdate& step, int64_t count, const float* gradient,
                 float* mean, float* square, float* value);

}  // namespace fedgraft
