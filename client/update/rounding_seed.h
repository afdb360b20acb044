#pragma once

#include <cstdint>

#include "common/base/ids.h"
#include "common/protocol/messages.h"

namespace fedgraft {

// What stochastic rounding of this update draws from: differs by run, plan,
// round, kind, site and base model, so that roundings of different updates are
// independent, and is the same whenever the same update is made again. Not a
// secret: rounding hides nothing.
uint64_t RoundingSeed(const SiteId& site, const UploadHeader& header);

}  // namespace fedgraft
