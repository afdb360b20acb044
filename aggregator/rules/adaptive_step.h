#pragma once

#include <cmath>
#include <cstddef>

#include "absl/types/span.h"
#include "aggregator/rules/rule.h"
#include "aggregator/rules/shard_checks.h"

namespace fedgraft {

struct AdaptiveRates {
  double server_learning_rate = 1;
  double beta1 = 0.9, beta2 = 0.99;
  double tau = 1e-3;  // degree of adaptivity
};

// What FedAdam and FedYogi have in common (Reddi et al. 2021, "Adaptive
// Federated Optimization", algorithm 2; no bias correction, m_0 = v_0 = 0):
// with Δ the weighted mean update,
//   m = beta1 · m + (1 - beta1) Δ,  v = next_v(v, Δ²),
//   next = previous + server_learning_rate · m / (√v + tau)
// The shard is checked and its state is m and v.
template <typename NextV>
void StepAdaptively(const AdaptiveRates& rates, const ShardSum& sum,
                    NextV next_v, absl::Span<float> next) {
  const MeanUpdate mean(sum);
  const absl::Span<float> first = sum.state[0], second = sum.state[1];
  for (size_t i = 0; i < next.size(); ++i) {
    const double delta = mean(i);
    const double m = rates.beta1 * first[i] + (1 - rates.beta1) * delta;
    const double v = next_v(second[i], delta * delta);
    first[i] = static_cast<float>(m);
    second[i] = static_cast<float>(v);
    next[i] =
        static_cast<float>(sum.previous[i] + rates.server_learning_rate * m /
                                                 (std::sqrt(v) + rates.tau));
  }
}

}  // namespace fedgraft
