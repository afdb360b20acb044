#pragma once

#include <cstdint>

#include "common/config/plan.h"

// What sites and aggregator must agree on for the rule fed_nova (Wang et al.
// 2020, "Tackling the Objective Inconsistency Problem in Heterogeneous
// Federated Optimization"): sites that took more steps do not count more for
// it. A site sends w Δ c / |a| in place of w Δ, and one more word, w |a| / c.

namespace fedgraft {

// Optimiser steps of one round for a site with so many training images.
int64_t LocalSteps(const Plan& plan, uint64_t samples);

// |a|_1: how much a round of SGD with the plan's momentum moves, in steps
// without momentum.
double AccumulatedSteps(const Plan& plan, int64_t steps);

// |a| / c, above 0. c is |a| of a site with update.weight_cap images, so that
// what travels is about as large as an update.
double NovaSteps(const Plan& plan, uint64_t samples);

}  // namespace fedgraft
