#include "aggregator/rules/fed_avgm.h"

#include "aggregator/rules/shard_checks.h"
#include "common/base/status_macros.h"

namespace fedgraft {

absl::Status FedAvgM::Apply(const ShardSum& sum, absl::Span<float> next) const {
  FG_RETURN_IF_ERROR(CheckShard(Name(), sum, StateSlots(), next));
  const MeanUpdate mean(sum);
  const absl::Span<float> velocity = sum.state[0];
  for (size_t i = 0; i < next.size(); ++i) {
    const double v = momentum_ * velocity[i] + mean(i);
    velocity[i] = static_cast<float>(v);
    next[i] = static_cast<float>(sum.previous[i] + server_learning_rate_ * v);
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
