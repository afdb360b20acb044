#include "common/config/plan_checks_statistics.h"

namespace fedgraft {
namespace {

constexpr char kWeights[] = "local.loss.class_weights";
constexpr char kRecords[] = "local.regularizers.ewc_records";

}  // namespace

void CheckStatistics(const Plan& plan, ConfigErrors& errors) {
  const bool counts = plan.loss.class_weights == ClassWeights::kFederated;
  const bool fisher = plan.regularizers.ewc_federated;
  for (const char* key :
       {counts ? kWeights : nullptr, fisher ? kRecords : nullptr}) {
    if (key == nullptr) continue;
    if (plan.rounds == 0) {
      errors.Add(key,
                 "found federated without a round of training that would use "
                 "it; expected rounds: 1 or more, or another value");
    }
    if (plan.differential_privacy.kind != DifferentialPrivacy::kNone) {
      errors.Add(key,
                 "found federated with differential privacy, which exact sums "
                 "of the sites' records would break; expected another value, "
                 "or privacy.differential_privacy.kind none");
    }
  }
  if (!fisher) return;
  if (!(plan.regularizers.ewc_lambda > 0)) {
    errors.Add(kRecords,
               "found federated without ewc_lambda, so that nothing would use "
               "it; expected ewc_lambda above 0, or local");
  }
  if (plan.batch_norm == BatchNormPolicy::kLocal ||
      plan.personal.kind == PersonalKind::kLocalHead) {
    errors.Add(kRecords,
               "found federated with layers that stay at the sites, whose "
               "parameters have no common start; expected local");
  }
}

}  // namespace fedgraft
