#include "common/numeric/fed_nova.h"

#include <algorithm>
#include <cmath>

namespace fedgraft {

int64_t LocalSteps(const Plan& plan, uint64_t samples) {
  const auto size = static_cast<uint64_t>(plan.batch_size);
  uint64_t batches = (samples + size - 1) / size;
  // A last batch of one image joins the batch before it.
  if (size > 1 && samples > size && samples % size == 1) --batches;
  const auto accumulate = static_cast<uint64_t>(plan.accumulate);
  return static_cast<int64_t>((batches + accumulate - 1) / accumulate) *
         plan.local_epochs;
}

double AccumulatedSteps(const Plan& plan, int64_t steps) {
  const auto count = static_cast<double>(steps);
  const double rho = plan.optimizer.momentum;
  if (!(rho > 0)) return count;
  return (count - rho * (1 - std::pow(rho, count)) / (1 - rho)) / (1 - rho);
}

double NovaSteps(const Plan& plan, uint64_t samples) {
  const auto steps = [&plan](uint64_t images) {
    return AccumulatedSteps(plan,
                            std::max<int64_t>(LocalSteps(plan, images), 1));
  };
  return steps(samples) / steps(static_cast<uint64_t>(plan.update.weight_cap));
}

}  // namespace fedgraft
