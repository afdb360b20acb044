#include "aggregator/rules/median.h"

#include "aggregator/rules/shard_checks.h"
#include "aggregator/rules/trimmed_mean.h"
#include "common/base/status_macros.h"

namespace fedgraft {

absl::Status Median::Apply(const ShardUpdates& shard, absl::Span<float> next,
                           absl::Span<uint64_t> kept) const {
  FG_RETURN_IF_ERROR(CheckShard(Name(), shard, 1, next, kept));
  ApplyTrimmed(shard, (shard.updates.size() - 1) / 2, server_learning_rate_,
               next, kept);
  return absl::OkStatus();
}

}  // namespace fedgraft
