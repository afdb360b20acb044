#pragma once

#include "aggregator/rules/rule.h"

namespace fedgraft {

// McMahan et al. 2017, "Communication-Efficient Learning of Deep Networks from
// Decentralized Data", algorithm 1, on updates instead of models:
//   next = previous + server_learning_rate · Σ w_k Δ_k / Σ w_k
// The sites multiplied Δ_k by w_k before quantising, so the numerator is the
// ring sum.
class FedAvg : public SumRule {
 public:
  explicit FedAvg(double server_learning_rate)
      : server_learning_rate_(server_learning_rate) {}
  absl::string_view Name() const override { return "fed_avg"; }
  absl::Status Apply(const ShardSum& sum,
                     absl::Span<float> next) const override;

 private:
  double server_learning_rate_;
};

}  // namespace fedgraft
