#include "aggregator/rules/fed_yogi.h"

#include "common/base/status_macros.h"

namespace fedgraft {

absl::Status FedYogi::Apply(const ShardSum& sum, absl::Span<float> next) const {
  FG_RETURN_IF_ERROR(CheckShard(Name(), sum, StateSlots(), next));
  const double beta2 = rates_.beta2;
  StepAdaptively(
      rates_, sum,
      [beta2](double v, double square) {
        const double sign = v > square ? 1 : v < square ? -1 : 0;
        return v - (1 - beta2) * square * sign;
      },
      next);
  return absl::OkStatus();
}

}  // namespace fedgraft
