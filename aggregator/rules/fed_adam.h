#pragma once

#include "aggregator/rules/rule.h"

namespace fedgraft {

struct AdaptiveRates {
  double server_learning_rate = 1;
  double beta1 = 0.9, beta2 = 0.99;
  double tau = 1e-3;  // degree of adaptivity
};

// Reddi et al. 2021, "Adaptive Federated Optimization", algorithm 2 (no bias
// correction, v_0 = 0): with Δ the weighted mean update,
//   m = beta1 · m + (1 - beta1) Δ,  v = beta2 · v + (1 - beta2) Δ²,
//   next = previous + server_learning_rate · m / (√v + tau)
class FedAdam : public SumRule {
 public:
  explicit FedAdam(const AdaptiveRates& rates) : rates_(rates) {}
  absl::string_view Name() const override { return "fed_adam"; }
  int StateSlots() const override { return 2; }  // m, v
  absl::Status Apply(const ShardSum& sum,
                     absl::Span<float> next) const override;

 private:
  AdaptiveRates rates_;
};

}  // namespace fedgraft
