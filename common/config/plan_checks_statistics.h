#pragma once

#include "common/config/config_errors.h"
#include "common/config/plan.h"

namespace fedgraft {

// Whether what a plan asks to be gathered from all sites before it trains
// (local.loss.class_weights, local.regularizers.ewc_records) has a use and a
// meaning there.
void CheckStatistics(const Plan& plan, ConfigErrors& errors);

}  // namespace fedgraft
