#pragma once

#include <torch/torch.h>

#include <memory>

#include "client/train/trained_model.h"
#include "common/config/plan.h"

// Which parameters move in a round, and how fast.

namespace fedgraft {

// Multiplier of the optimiser's rate, by kind:
//   block_decay   factor^depth (Howard and Ruder 2018, section 3.2, with 1/2.6;
//                 layer decay: Bao et al., "BEiT", 2022, appendix)
//   backbone      `factor` for all but the head
//   groups        that of the first glob that matches, else 1
double RateMultiplier(const LayerRateSpec& spec,
                      const TrainedParameter& parameter);

// Gradual unfreezing (Howard and Ruder 2018, section 3.3, with rounds for
// epochs): the largest depth that is trained in `round` (from 1). A block that
// holds nothing of `trained` is no step of its own. REQUIRES: `trained` is not
// empty.
int DepthInRound(const LayerRateSpec& spec, int round,
                 const TrainedParameters& trained);

// Fresh state, rates of round `round`. Weight decay is torch's: of every
// parameter, one-dimensional ones too; SGD adds it to the gradient, AdamW
// applies it apart.
std::unique_ptr<torch::optim::Optimizer> MakeOptimizer(
    const Plan& plan, int round, const TrainedParameters& parameters);

}  // namespace fedgraft
