#include "aggregator/rules/fed_adagrad.h"

#include <cmath>

#include "aggregator/rules/shard_checks.h"
#include "common/base/status_macros.h"

namespace fedgraft {

absl::Status FedAdagrad::Apply(const ShardSum& sum,
                               absl::Span<float> next) const {
  FG_RETURN_IF_ERROR(CheckShard(Name(), sum, StateSlots(), next));
  const MeanUpdate mean(sum);
  const absl::Span<float> second = sum.state[0];
  for (size_t i = 0; i < next.size(); ++i) {
    const double delta = mean(i);
    const double v = second[i] + delta * delta;
    second[i] = static_cast<float>(v);
    next[i] =
        static_cast<float>(sum.previous[i] + server_learning_rate_ * delta /
                                                 (std::sqrt(v) + tau_));
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
