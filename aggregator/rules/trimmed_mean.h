#pragma once

#include "aggregator/rules/rule.h"

namespace fedgraft {

// Yin et al. 2018, "Byzantine-Robust Distributed Learning", definition 2: per
// parameter the mean of the updates without the largest and the smallest
//   next = previous + server_learning_rate · mean(sorted Δ[cut … n - cut))
// with cut = ⌊trim_fraction · n⌋. Up to `cut` hostile updates cannot move a
// value out of the range of the honest ones.
class TrimmedMean : public RobustRule {
 public:
  TrimmedMean(double server_learning_rate, double trim_fraction)
      : server_learning_rate_(server_learning_rate),
        trim_fraction_(trim_fraction) {}
  absl::string_view Name() const override { return "trimmed_mean"; }
  absl::Status Apply(const ShardUpdates& shard, absl::Span<float> next,
                     absl::Span<uint64_t> kept) const override;

 private:
  double server_learning_rate_, trim_fraction_;
};

// Of a checked shard: per parameter the mean of what is left when `cut` values
// are cut at each end. REQUIRES: 2 · cut < number of updates.
void ApplyTrimmed(const ShardUpdates& shard, size_t cut, double rate,
                  absl::Span<float> next, absl::Span<uint64_t> kept);

}  // namespace fedgraft
