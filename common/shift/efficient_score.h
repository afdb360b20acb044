#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/transfer/matrix_view.h"

// Does a head fitted elsewhere hold for this sample's labels? Rao's efficient
// score test: no fit of slopes on the sample, which at a hospital's size would
// reject far too often (Wald) or has no solution (separable records).
//
// If only the labels' shares differ (label shift), the log odds differ by a
// constant: intercepts move, slopes do not. A slope that does not fit is
// concept shift, whatever the intercept.

namespace fedgraft {

// Multinomial logistic head on features f [k] with class 0 as the baseline:
// log odds of class c to class 0 = coefficients[c - 1] . (1, f).
struct ReferenceHead {
  int num_classes = 2;
  int64_t feature_dim = 0;
  std::vector<double> coefficients;  // [C - 1, 1 + k]
  // Of the coefficients' estimate, [(C - 1)(1 + k)] squared. Zeros: the head is
  // known, not estimated.
  std::vector<double> covariance;
};

struct ScoreTest {
  double statistic = 0;
  double dof = 0;
  double p = 1;
};

struct ConceptTests {
  // Slopes, with the intercepts fitted to the sample: concept shift.
  // k (C - 1) degrees of freedom.
  ScoreTest concept_shift;
  // Intercepts at the reference's slopes and intercepts: label shift, if there
  // is no concept shift. C - 1 degrees of freedom.
  ScoreTest label_shift;
  std::vector<double> intercepts;  // [C - 1], fitted
};

// `features` [n, k], `labels` [n]. The head must not have been fitted on these
// records (leave-one-out). INVALID_ARGUMENT: sizes, values, labels outside.
// FAILED_PRECONDITION: a class without a record, fewer than kRecordsPerSlope
// records per slope and class, or features that do not vary.
inline constexpr double kRecordsPerSlope = 5;
absl::StatusOr<ConceptTests> TestConcept(const MatrixView& features,
                                         absl::Span<const int64_t> labels,
                                         const ReferenceHead& head);

// The head of least cross-entropy on these records by Newton's method, with the
// inverse of its information (plus `ridge` on slopes) as covariance; what a
// reference makes of the pooled sums. Errors as above, but needs no more than a
// record of each class. ABORTED: no convergence.
absl::StatusOr<ReferenceHead> FitReferenceHead(const MatrixView& features,
                                               absl::Span<const int64_t> labels,
                                               int num_classes,
                                               double ridge = 1e-6);

}  // namespace fedgraft
