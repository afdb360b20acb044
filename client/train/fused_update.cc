#include "client/train/fused_update.h"

#include <ATen/Parallel.h>

#include <cmath>

namespace fedgraft {
namespace {

// Fewer values are not worth a second thread.
constexpr int64_t kGrain = 32768;

}  // namespace

void UpdateSgd(const SgdUpdate& step, int64_t count, const float* gradient,
               float* velocity, float* value) {
  const float rate = step.rate, momentum = step.momentum;
  const float decay = step.weight_decay;
  at::parallel_for(0, count, kGrain, [&](int64_t begin, int64_t end) {
    const float* __restrict g = gradient;
    float* __restrict v = velocity;
    float* __restrict w = value;
    if (momentum == 0) {
      for (int64_t i = begin; i < end; ++i)
        w[i] -= rate * (g[i] + decay * w[i]);
    } else if (step.first) {
      for (int64_t i = begin; i < end; ++i) {
        v[i] = g[i] + decay * w[i];
        w[i] -= rate * v[i];
      }
    } else {
      for (int64_t i = begin; i < end; ++i) {
        v[i] = momentum * v[i] + (g[i] + decay * w[i]);
        w[i] -= rate * v[i];
      }
    }
  });
}

AdamWUpdate::AdamWUpdate(double rate, double beta1, double beta2,
                         double epsilon, double weight_decay, int64_t step)
    : keep(static_cast<float>(1 - rate * weight_decay)),
      beta1(static_cast<float>(beta1)),
      beta2(static_cast<float>(beta2)),
      gain1(static_cast<float>(1 - beta1)),
      gain2(static_cast<float>(1 - beta2)),
      step_size(static_cast<float>(
          rate / (1 - std::pow(beta1, static_cast<double>(step))))),
      inverse_root2(static_cast<float>(
          1 / std::sqrt(1 - std::pow(beta2, static_cast<double>(step))))),
      epsilon(static_cast<float>(epsilon)) {}

void UpdateAdamW(const AdamWUpdate& step, int64_t count, const float* gradient,
                 float* mean, float* square, float* value) {
  const AdamWUpdate s = step;
  at::parallel_for(0, count, kGrain, [&](int64_t begin, int64_t end) {
    const float* __restrict g = gradient;
    float* __restrict m = mean;
    float* __restrict q = square;
    float* __restrict w = value;
    for (int64_t i = begin; i < end; ++i) {
      m[i] = s.beta1 * m[i] + s.gain1 * g[i];
      q[i] = s.beta2 * q[i] + s.gain2 * (g[i] * g[i]);
      const float root = std::sqrt(q[i]) * s.inverse_root2 + s.epsilon;
      w[i] = s.keep * w[i] - s.step_size * (m[i] / root);
    }
  });
}

}  // namespace fedgraft
