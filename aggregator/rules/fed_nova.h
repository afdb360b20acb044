#pragma once

#include "aggregator/rules/rule.h"

namespace fedgraft {

// Wang et al. 2020, "Tackling the Objective Inconsistency Problem in
// Heterogeneous Federated Optimization": with p_k the weights' shares and |a_k|
// the steps that led to Δ_k,
//   next = previous + server_learning_rate · (Σ p_k |a_k|) · Σ p_k Δ_k / |a_k|
// The sites divided by |a_k| / c and sent w_k |a_k| / c as one more word
// (common/numeric/fed_nova.h); c cancels.
class FedNova : public SumRule {
 public:
  explicit FedNova(double server_learning_rate)
      : server_learning_rate_(server_learning_rate) {}
  absl::string_view Name() const override { return "fed_nova"; }
  // INVALID_ARGUMENT also: no steps.
  absl::Status Apply(const ShardSum& sum,
                     absl::Span<float> next) const override;

 private:
  double server_learning_rate_;
};

}  // namespace fedgraft
