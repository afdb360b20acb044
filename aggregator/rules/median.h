#pragma once

#include "aggregator/rules/rule.h"

namespace fedgraft {

// Yin et al. 2018, "Byzantine-Robust Distributed Learning", definition 1: per
// parameter the median of the updates (of an even number: the mean of the two
// in the middle)
//   next = previous + server_learning_rate · median(Δ)
class Median : public RobustRule {
 public:
  explicit Median(double server_learning_rate)
      : server_learning_rate_(server_learning_rate) {}
  absl::string_view Name() const override { return "median"; }
  absl::Status Apply(const ShardUpdates& shard, absl::Span<float> next,
                     absl::Span<uint64_t> kept) const override;

 private:
  double server_learning_rate_;
};

}  // namespace fedgraft
