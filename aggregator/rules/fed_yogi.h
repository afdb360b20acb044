#pragma once

#include "aggregator/rules/adaptive_step.h"

namespace fedgraft {

// An adaptive step (adaptive_step.h) in which v moves towards Δ² by as much
// however far away it is:
//   v = v - (1 - beta2) Δ² sign(v - Δ²)
class FedYogi : public SumRule {
 public:
  explicit FedYogi(const AdaptiveRates& rates) : rates_(rates) {}
  absl::string_view Name() const override { return "fed_yogi"; }
  int StateSlots() const override { return 2; }  // m, v
  absl::Status Apply(const ShardSum& sum,
                     absl::Span<float> next) const override;

 private:
  AdaptiveRates rates_;
};

}  // namespace fedgraft
