#include "aggregator/rules/fed_nova.h"

#include "absl/strings/str_cat.h"
#include "aggregator/rules/shard_checks.h"
#include "common/base/status_macros.h"
#include "common/numeric/update_payload.h"

namespace fedgraft {

absl::Status FedNova::Apply(const ShardSum& sum, absl::Span<float> next) const {
  FG_RETURN_IF_ERROR(CheckShard(Name(), sum, StateSlots(), next));
  const double steps = sum.scalars.size() == 1
                           ? Dequantize(sum.ring, sum.scalars[0]) /
                                 WeightOfWord(sum.total_weight_word)
                           : 0;
  if (!(steps > 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        Name(),
        ": expected the steps that the sites took as one word, above "
        "0, got ",
        sum.scalars.size(), " words and ", steps));
  }
  const MeanUpdate mean(sum);
  const double factor = server_learning_rate_ * steps;
  for (size_t i = 0; i < next.size(); ++i) {
    next[i] = static_cast<float>(sum.previous[i] + factor * mean(i));
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
