#pragma once

#include "absl/types/span.h"

namespace fedgraft {

// The sine and cosine of each angle, off by at most 2^-51; processors may round
// differently. REQUIRES: spans of one size that do not
// overlap.
void SinCos(absl::Span<const double> angles, absl::Span<double> sines,
            absl::Span<double> cosines);

}  // namespace fedgraft
