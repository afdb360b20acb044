#pragma once

#include "aggregator/rules/rule.h"

namespace fedgraft {

// FedAvg with momentum at the server (Hsu, Qi, Brown 2019, "Measuring the
// Effects of Non-Identical Data Distribution for Federated Visual
// Classification"): with Δ the weighted mean update,
//   v = momentum · v + Δ,  next = previous + server_learning_rate · v
class FedAvgM : public SumRule {
 public:
  FedAvgM(double server_learning_rate, double momentum)
      : server_learning_rate_(server_learning_rate), momentum_(momentum) {}
  absl::string_view Name() const override { return "fed_avgm"; }
  int StateSlots() const override { return 1; }  // v
  absl::Status Apply(const ShardSum& sum,
                     absl::Span<float> next) const override;

 private:
  double server_learning_rate_, momentum_;
};

}  // namespace fedgraft
