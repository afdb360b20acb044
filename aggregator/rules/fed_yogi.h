#pragma once

#include "aggregator/rules/fed_adam.h"

namespace fedgraft {

// As FedAdam, but v moves towards Δ² by a step that does not depend on how far
// away it is (Reddi et al. 2021, algorithm 2):
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
