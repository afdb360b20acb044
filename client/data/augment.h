#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "common/config/plan.h"

namespace fedgraft {

// Names one random view of one training image.
struct ViewKey {
  uint64_t seed = 0;   // of the plan and the site
  uint64_t epoch = 0;  // counted over the whole run
  uint64_t image = 0;  // index in the training split
};

// Replaces a network input `chw` ([channels, size, size], contiguous) by a
// random view of it: mirrored left-right with probability 1/2 if the plan says
// so, then turned about its centre by an angle uniform in +-rotate_degrees and
// moved by a shift uniform in +-translate * size in each direction (bilinear,
// border pixels repeated). The view depends on `key` and the AugmentationSpec
// only. REQUIRES: chw.size() is a positive multiple of size * size.
// Thread-safe.
void Augment(const AugmentationSpec& spec, const ViewKey& key, int size,
             absl::Span<float> chw);

}  // namespace fedgraft
