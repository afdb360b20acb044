#pragma once

#include "aggregator/rules/rule.h"

namespace fedgraft {

// Reddi et al. 2021, "Adaptive Federated Optimization", algorithm 2 with
// beta1 = 0 and v_0 = 0: with Δ the weighted mean update,
//   v = v + Δ²,  next = previous + server_learning_rate · Δ / (√v + tau)
class FedAdagrad : public SumRule {
 public:
  FedAdagrad(double server_learning_rate, double tau)
      : server_learning_rate_(server_learning_rate), tau_(tau) {}
  absl::string_view Name() const override { return "fed_adagrad"; }
  int StateSlots() const override { return 1; }  // v
  absl::Status Apply(const ShardSum& sum,
                     absl::Span<float> next) const override;

 private:
  double server_learning_rate_, tau_;
};

}  // namespace fedgraft
