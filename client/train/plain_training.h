#pragma once

#include "common/config/plan.h"

namespace fedgraft {

// True if a step of this plan is nothing but the optimiser's step on the mean
// cross-entropy of a shuffled batch, at one rate for all that is trained: no
// weights, smoothing, regulariser, cut, accumulation, personal model or gradual
// unfreezing. A faster path may then be taken.
bool TrainsPlainly(const Plan& plan);

}  // namespace fedgraft
