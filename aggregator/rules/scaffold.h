#pragma once

#include "aggregator/rules/fed_avg.h"
#include "aggregator/rules/rule.h"

namespace fedgraft {

// Karimireddy et al. 2020, "SCAFFOLD: Stochastic Controlled Averaging for
// Federated Learning", algorithm 1 with option II: the sites correct every step
// by c - c_k (client/train/site_control_variate.h), so that the plain mean of
// what they come to is what is left to do here:
//   next = previous + server_learning_rate · mean Δ_k
// The plan sees to it that all sites count alike.
class Scaffold : public FedAvg {
 public:
  using FedAvg::FedAvg;
  absl::string_view Name() const override { return "scaffold"; }
};

// The server's control variate, c = Σ c_k / N over all N sites of the run
// (RuleSites), from the changes that this round's contributors S sent of
// theirs:
//   c ← (N_before · c + Σ_S Δc_k) / N
// which is the paper's c + |S|/N · mean Δc_k while no site comes in addition;
// such a one brings a c_k of 0. Without weights: exactly the sites' sum,
// whoever is missing.
class ControlVariateRule : public SumRule {
 public:
  ControlVariateRule(int sites_before, int sites)
      : sites_before_(sites_before), sites_(sites) {}
  absl::string_view Name() const override { return "scaffold"; }
  // INVALID_ARGUMENT also: more contributions than sites.
  absl::Status Apply(const ShardSum& sum,
                     absl::Span<float> next) const override;

 private:
  int sites_before_, sites_;
};

}  // namespace fedgraft
