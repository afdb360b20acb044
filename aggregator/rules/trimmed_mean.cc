#include "aggregator/rules/trimmed_mean.h"

#include <algorithm>
#include <vector>

#include "aggregator/rules/shard_checks.h"
#include "common/base/status_macros.h"
#include "common/config/rule_facts.h"

namespace fedgraft {

void ApplyTrimmed(const ShardUpdates& shard, size_t cut, double rate,
                  absl::Span<float> next, absl::Span<uint64_t> kept) {
  const size_t updates = shard.updates.size();
  const size_t last = updates - 1 - cut;
  std::vector<double> column(updates);
  for (size_t i = 0; i < next.size(); ++i) {
    for (size_t k = 0; k < updates; ++k) column[k] = shard.updates[k][i];
    // Sorted, so that the sum does not depend on the order of the updates.
    std::sort(column.begin(), column.end());
    double sum = 0;
    for (size_t k = cut; k <= last; ++k) sum += column[k];
    next[i] = static_cast<float>(
        shard.previous[i] + rate * sum / static_cast<double>(last + 1 - cut));
    const double low = column[cut], high = column[last];
    for (size_t k = 0; k < updates; ++k) {
      const double value = shard.updates[k][i];
      kept[k] += value >= low && value <= high ? 1 : 0;
    }
  }
}

absl::Status TrimmedMean::Apply(const ShardUpdates& shard,
                                absl::Span<float> next,
                                absl::Span<uint64_t> kept) const {
  FG_RETURN_IF_ERROR(CheckShard(Name(), shard, 1, next, kept));
  const size_t cut = TrimCount(trim_fraction_, shard.updates.size());
  ApplyTrimmed(shard, cut, server_learning_rate_, next, kept);
  return absl::OkStatus();
}

}  // namespace fedgraft
