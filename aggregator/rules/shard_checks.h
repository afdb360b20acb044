#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "aggregator/rules/rule.h"

// What rules check before they write anything.

namespace fedgraft {

// INVALID_ARGUMENT naming the rule: sizes that differ, another number of state
// slots, no contribution, or no weight.
absl::Status CheckShard(absl::string_view rule, const ShardSum& sum,
                        int state_slots, absl::Span<const float> next);
// INVALID_ARGUMENT naming the rule: sizes that differ, or fewer updates than
// `updates_min`.
absl::Status CheckShard(absl::string_view rule, const ShardUpdates& shard,
                        size_t updates_min, absl::Span<const float> next,
                        absl::Span<const uint64_t> kept);

// The weighted mean of the updates at each word of a checked shard.
class MeanUpdate {
 public:
  explicit MeanUpdate(const ShardSum& sum);
  double operator()(size_t i) const {
    return factor_ * Dequantize(sum_.ring, sum_.words[i]);
  }

 private:
  const ShardSum& sum_;
  double factor_;
};

}  // namespace fedgraft
