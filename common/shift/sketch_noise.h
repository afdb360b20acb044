#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/runtime/random_source.h"
#include "common/shift/sketch_layout.h"

namespace fedgraft {

// Adds discrete Gaussian noise to one site's words of one stage, so that the
// stage is a Gaussian mechanism of `noise_multiplier` (deviation over L2
// sensitivity) for adding or removing one record. Every part gets noise by its
// own record_norm: deviation = noise_multiplier * ScaledSensitivity() *
// record_norm, in the units of the sums. Words are first rounded to a coarser
// grid of at most 2^-20 deviations, on which the noise is drawn; what rounding
// adds to the sensitivity is part of it. The number of sites stays as it is.
//
// Not hidden: that a site takes part, for which it has kSketchRecordsMin
// records; what the last bits of the floating-point sums tell.
//
// A sketch of S stages costs S such mechanisms. INVALID_ARGUMENT: a multiplier
// that is not above 0, or a number of words that is not the layout's.
absl::Status AddSketchNoise(const SketchLayout& layout, double noise_multiplier,
                            RandomSource& random, absl::Span<uint64_t> words);

}  // namespace fedgraft
