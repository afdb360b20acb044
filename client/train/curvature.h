#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "absl/status/statusor.h"
#include "client/train/trained_model.h"

// Second derivatives of a loss over data in the trained parameters, by products
// of the Hessian with a vector (Pearlmutter, "Fast exact multiplication by the
// Hessian", 1994; here by differentiating twice). Functions may throw
// c10::Error.

namespace fedgraft {

// A mean over records: the sum over batches of `batch(i)`, by `records`.
struct MeanLoss {
  int64_t batches = 0;
  double records = 1;
  // Scalar: the sum over the records of batch i, F64, differentiable twice.
  std::function<absl::StatusOr<torch::Tensor>(int64_t)> batch;
};

absl::StatusOr<double> ValueOf(const MeanLoss& loss);

// H v: one tensor per parameter, F64, for `direction` of their shapes.
absl::StatusOr<std::vector<torch::Tensor>> HessianProduct(
    const MeanLoss& loss, const TrainedParameters& parameters,
    const std::vector<torch::Tensor>& direction);

struct TraceEstimate {
  double mean = 0;
  // Of the mean, from the spread of the probes' values.
  double standard_error = 0;
  bool operator==(const TraceEstimate&) const = default;
};
// Trace of each depth's block of the Hessian, estimated by `probes` vectors of
// random signs drawn by `seed` (Hutchinson, "A stochastic estimator of the
// trace of the influence matrix", 1990): exact for a diagonal Hessian.
// REQUIRES: probes >= 2.
absl::StatusOr<std::map<int, TraceEstimate>> HessianTraces(
    const MeanLoss& loss, const TrainedParameters& parameters, uint64_t seed,
    int probes);

// What a move of the parameters costs the old task.
struct Forgetting {
  double predicted = 0;  // 1/2 dw' H dw, H at `before`
  double measured = 0;   // loss after - loss before
  // Of H's blocks at `before`, by depth; MeasureForgetting leaves them out.
  std::map<int, TraceEstimate> traces;
};

// From `before` to the values that the parameters have now, which they have
// again afterwards. The two agree where `loss` is stationary at `before` and
// the move is small.
absl::StatusOr<Forgetting> MeasureForgetting(
    const MeanLoss& loss, const TrainedParameters& parameters,
    const NamedValues& before);

}  // namespace fedgraft
