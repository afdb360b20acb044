#pragma once

#include "aggregator/rules/adaptive_step.h"

namespace fedgraft {

// An adaptive step (adaptive_step.h) with
//   v = beta2 · v + (1 - beta2) Δ²
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
