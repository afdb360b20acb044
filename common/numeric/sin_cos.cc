#include "common/numeric/sin_cos.h"

#include <algorithm>
#include <cmath>

#include "common/base/check.h"
#include "common/numeric/dense_kernels.h"

namespace fedgraft {

void SinCos(absl::Span<const double> angles, absl::Span<double> sines,
            absl::Span<double> cosines) {
  FG_CHECK(sines.size() == angles.size() && cosines.size() == angles.size());
  const bool in_range =
      std::all_of(angles.begin(), angles.end(),
                  [](double angle) { return std::abs(angle) <= kSinCosMax; });
  if (in_range) {
    return BestDenseKernels().sin_cos(angles.data(), angles.size(),
                                      sines.data(), cosines.data());
  }
  for (size_t i = 0; i < angles.size(); ++i) {
    sines[i] = std::sin(angles[i]);
    cosines[i] = std::cos(angles[i]);
  }
}

}  // namespace fedgraft
