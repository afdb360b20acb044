#include "aggregator/rules/fed_adam.h"

#include "common/base/status_macros.h"

namespace fedgraft {

absl::Status FedAdam::Apply(const ShardSum& sum, absl::Span<float> next) const {
  FG_RETURN_IF_ERROR(CheckShard(Name(), sum, StateSlots(), next));
  const double beta2 = rates_.beta2;
  StepAdaptively(
      rates_, sum,
      [beta2](double v, double square) {
        return beta2 * v + (1 - beta2) * square;
      },
      next);
  return absl::OkStatus();
}

}  // namespace fedgraft
