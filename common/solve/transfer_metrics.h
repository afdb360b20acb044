#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/solve/solve_point.h"
#include "common/transfer/feature_moments.h"

// What the sums of a least-squares head (SolveStage::kCross) tell beside the
// head: how well these frozen features serve it, over all sites' records.

namespace fedgraft {

// More features cost minutes.
inline constexpr int64_t kMeasuredFeaturesMax = 2048;

// Moments, without norms, of the features as the backbone makes them: where the
// sums are of normalised features, their mean and scale are taken back, so that
// both normalisations give the same. A feature that the solver switched off as
// constant counts as its mean.
// REQUIRES: point.stage is kCross, as many sums as its layout has.
// FAILED_PRECONDITION: features that each site normalises by itself;
// INVALID_ARGUMENT: too many features or classes, or sums of no records.
absl::StatusOr<FeatureMoments> MomentsOfCross(const SolvePoint& point,
                                              absl::Span<const double> sums);

// By name: transfer_records, transfer_features, transfer_log_me,
// transfer_h_score, transfer_effective_dimension, as `fedgraft-client rank`
// has them of the pooled training records. A measure that is not defined (one
// class, constant features) is left out; all are where the stage or the
// features give no moments, or above kMeasuredFeaturesMax features.
std::map<std::string, double> TransferMetrics(const SolvePoint& point,
                                              absl::Span<const double> sums);

}  // namespace fedgraft
