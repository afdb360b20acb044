#pragma once

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/shift/shift_test.h"
#include "common/transfer/matrix_view.h"

// What several tests share. FAILED_PRECONDITION: nothing can be said.

namespace fedgraft {

// True if a test did not apply, rather than went wrong.
bool DoesNotApply(const absl::Status& status);

// Kernel two-sample test (common/shift/mmd.h) of `embedding` [n, D] against the
// mean of others. Effect: the squared distance less what chance makes of it, 0
// if negative.
absl::StatusOr<ShiftResult> CompareEmbeddings(const MatrixView& embedding,
                                              absl::Span<const double> mean,
                                              double others_n);

// Chi-square test of two histograms, after neighbouring bins are taken together
// until each is expected to hold kExpectedMin of either sample. Effect:
// Cramer's V.
inline constexpr double kExpectedMin = 5;
absl::StatusOr<ShiftResult> CompareCounts(absl::Span<const double> own,
                                          absl::Span<const double> others);

// Hotelling's test of the means of `own` [n, k] and `others` [m, k], whose
// covariance is the same if nothing differs. Effect: Mahalanobis' distance.
absl::StatusOr<ShiftResult> CompareMeans(const MatrixView& own,
                                         const MatrixView& others);

}  // namespace fedgraft
