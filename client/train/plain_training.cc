#include "client/train/plain_training.h"

namespace fedgraft {

bool TrainsPlainly(const Plan& plan) {
  const LossSpec& loss = plan.loss;
  const RegularizerSpec& terms = plan.regularizers;
  return loss.class_weights == ClassWeights::kNone &&
         loss.sampling == Sampling::kShuffled && loss.label_smoothing == 0 &&
         terms.l2_sp_alpha == 0 && terms.l2_sp_beta == 0 &&
         terms.fed_prox_mu == 0 && terms.ewc_lambda == 0 &&
         plan.gradient_norm_max == 0 && plan.accumulate == 1 &&
         plan.layer_rates.kind == LayerRateKind::kUniform &&
         plan.layer_rates.unfreeze_every == 0 &&
         plan.personal.kind == PersonalKind::kNone;
}

}  // namespace fedgraft
