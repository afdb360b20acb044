#pragma once

#include <torch/torch.h>

#include <vector>

#include "absl/status/statusor.h"
#include "common/solve/solve_point.h"

namespace fedgraft {

// Frozen features of one split and what they belong to.
struct LabelledFeatures {
  torch::Tensor values;         // [n, feature_dim], double, on the CPU
  std::vector<int64_t> labels;  // [n]
  int64_t count() const { return static_cast<int64_t>(labels.size()); }
};

// This site's sums at `point`, in the order of common/solve/solve_statistics.h.
// In double precision and in an order that depends on the features only: the
// same call gives the same bytes. `validation` may be empty.
// INVALID_ARGUMENT: features of another length than the point's, or a value
// that is not finite; FAILED_PRECONDITION: no training record.
absl::StatusOr<std::vector<double>> SolveStatistics(
    const SolvePoint& point, const LabelledFeatures& train,
    const LabelledFeatures& validation);

// Mean and scale by which a site normalises its own features (per_site); the
// scale of a constant feature is 0.
struct FeatureScaling {
  torch::Tensor mean, scale;  // [feature_dim], double
};
FeatureScaling OwnScaling(const LabelledFeatures& train);

// A site's own intercepts for shared slopes: minimises the summed loss of
// softmax(W f + b) over b by Newton's method (b sums to 0), so that label
// shift between sites does not bias it. `head` [classes, feature_dim + 1],
// slopes then intercept, for the features as they are in `train`; returns the
// head with the intercepts replaced. Classes without a record here keep their
// distance to the others.
torch::Tensor RefitIntercepts(const torch::Tensor& head,
                              const LabelledFeatures& train);

}  // namespace fedgraft
