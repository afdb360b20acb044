#include "aggregator/rules/scaffold.h"

#include "absl/strings/str_cat.h"
#include "aggregator/rules/shard_checks.h"
#include "common/base/status_macros.h"

namespace fedgraft {

absl::Status ControlVariateRule::Apply(const ShardSum& sum,
                                       absl::Span<float> next) const {
  FG_RETURN_IF_ERROR(CheckShard(Name(), sum, StateSlots(), next));
  if (sum.contributions > sites_) {
    return absl::InvalidArgumentError(
        absl::StrCat(Name(), ": expected at most the run's ", sites_,
                     " sites, got ", sum.contributions, " contributions"));
  }
  const double kept = static_cast<double>(sites_before_) / sites_;
  for (size_t i = 0; i < next.size(); ++i) {
    const double change = Dequantize(sum.ring, sum.words[i]) / sites_;
    next[i] = static_cast<float>(kept * sum.previous[i] + change);
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
