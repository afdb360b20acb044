#pragma once

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace fedgraft {

// Whether two samples share one distribution over categories: predictions,
// classes, bins of a histogram.
struct HomogeneityTest {
  double statistic = 0;
  double dof = 0;  // categories that occur, less one
  double p = 1;
  // Cramer's V, 0 to 1: the effect size.
  double effect = 0;
};

// Pearson's chi-square on two rows of counts. Categories that neither has say
// nothing and are left out; with one left the samples agree (p = 1).
// INVALID_ARGUMENT: sizes that differ, a count that is negative or not finite,
// or a sample without a record.
absl::StatusOr<HomogeneityTest> TestHomogeneity(absl::Span<const double> a,
                                                absl::Span<const double> b);

}  // namespace fedgraft
