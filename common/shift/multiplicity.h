#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace fedgraft {

// p-values of several tests, adjusted so that rejecting those at most q keeps
// the expected share of false rejections at most q. Order is kept.
// `any_dependence`: Benjamini and Yekutieli's factor sum 1/i (2001), which
// holds however the tests depend on each other; without it Benjamini and
// Hochberg (1995), for independent or positively dependent ones.
// INVALID_ARGUMENT: a p-value outside [0, 1].
absl::StatusOr<std::vector<double>> AdjustPValues(absl::Span<const double> p,
                                                  bool any_dependence = false);

}  // namespace fedgraft
