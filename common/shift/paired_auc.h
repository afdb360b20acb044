#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace fedgraft {

// Two scores of the same records: their areas under the ROC curve, and whether
// they differ.
struct PairedAuc {
  double auc_a = 0, auc_b = 0;
  double variance_a = 0, variance_b = 0, covariance = 0;
  double difference = 0;  // a - b
  double deviation = 0;   // of the difference
  double z = 0, p = 1;    // two-sided; z 0 if the scores rank alike
};

// DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more
// correlated receiver operating characteristic curves", 1988, by midranks in
// O(n log n) (Sun and Xu 2014). `labels` 0 or 1. INVALID_ARGUMENT: sizes that
// differ, a score that is not finite, or another label. FAILED_PRECONDITION:
// fewer than two records of a class.
absl::StatusOr<PairedAuc> CompareAuc(absl::Span<const int64_t> labels,
                                     absl::Span<const double> score_a,
                                     absl::Span<const double> score_b);

}  // namespace fedgraft
