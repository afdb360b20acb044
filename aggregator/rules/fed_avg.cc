#include "aggregator/rules/fed_avg.h"

#include "aggregator/rules/shard_checks.h"
#include "common/base/status_macros.h"
#include "common/numeric/update_payload.h"

namespace fedgraft {

absl::Status FedAvg::Apply(const ShardSum& sum, absl::Span<float> next) const {
  FG_RETURN_IF_ERROR(CheckShard(Name(), sum, StateSlots(), next));
  const double factor =
      server_learning_rate_ / WeightOfWord(sum.total_weight_word);
  for (size_t i = 0; i < next.size(); ++i) {
    next[i] = static_cast<float>(sum.previous[i] +
                                 factor * Dequantize(sum.ring, sum.words[i]));
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
