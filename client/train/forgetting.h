#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "client/train/activation_store.h"
#include "client/train/curvature.h"
#include "client/train/session.h"
#include "client/train/trained_model.h"

namespace fedgraft {

// Of more images than this the report takes as many, evenly spaced.
inline constexpr int64_t kForgettingRecordsMax = 2048;
// The traces take kTraceProbes products with the Hessian over this many.
inline constexpr int64_t kTraceRecordsMax = 256;
inline constexpr int kTraceProbes = 16;

// How far a model has left what it said with the parameters `before`: the old
// task is the cross-entropy to the classes' probabilities that it gave then, on
// these images. That loss is least at `before`, where its Hessian is the Fisher
// information, so that what EWC assumes can be compared with what happened.
// BatchNorm statistics are those of now in both. With the Hessian's traces:
// which blocks the old task holds fast. Their probes are drawn by `seed`.
// FAILED_PRECONDITION: no images.
absl::StatusOr<Forgetting> ForgettingSince(const NamedValues& before,
                                           const TrainedModel& model,
                                           const ActivationStore& data,
                                           uint64_t seed,
                                           const ProgressSink& progress);

// The mean cross-entropy of the model's answers on these images of `data` to
// `targets` [images, classes], F64.
MeanLoss SoftLabelLoss(const TrainedModel& model, const ActivationStore& data,
                       std::vector<int64_t> images, torch::Tensor targets);

}  // namespace fedgraft
