#include "aggregator/rules/fed_yogi.h"

#include <cmath>

#include "aggregator/rules/shard_checks.h"
#include "common/base/status_macros.h"

namespace fedgraft {

absl::Status FedYogi::Apply(const ShardSum& sum, absl::Span<float> next) const {
  FG_RETURN_IF_ERROR(CheckShard(Name(), sum, StateSlots(), next));
  const MeanUpdate mean(sum);
  const absl::Span<float> first = sum.state[0], second = sum.state[1];
  for (size_t i = 0; i < next.size(); ++i) {
    const double delta = mean(i);
    const double square = delta * delta;
    const double m = rates_.beta1 * first[i] + (1 - rates_.beta1) * delta;
    const double before = second[i];
    const double sign = before > square ? 1 : before < square ? -1 : 0;
    const double v = before - (1 - rates_.beta2) * square * sign;
    first[i] = static_cast<float>(m);
    second[i] = static_cast<float>(v);
    next[i] =
        static_cast<float>(sum.previous[i] + rates_.server_learning_rate * m /
                                                 (std::sqrt(v) + rates_.tau));
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
