#pragma once

#include <cstdint>
#include <vector>

#include "common/base/bytes.h"
#include "common/config/plan.h"
#include "common/model/parameter_layout.h"

namespace fedgraft::testing {

// A site's sums for the stage of a look that follows `pooled`, of 40 records
// that the seed draws and that never change, half of them from each of two
// scanners. REQUIRES: a look that is not done.
std::vector<double> PlainLook(uint64_t seed, const Plan& plan,
                              const ParameterLayout& layout, ByteSpan pooled,
                              bool share_devices = false);

}  // namespace fedgraft::testing
