#pragma once

#include "absl/status/statusor.h"
#include "client/train/activation_store.h"
#include "client/train/curvature.h"
#include "client/train/session.h"
#include "client/train/trained_model.h"

namespace fedgraft {

// More images than this are left out of the report.
inline constexpr int64_t kForgettingRecordsMax = 2048;

// How far a model has left what it said with the parameters `before`: the old
// task is the cross-entropy to the classes' probabilities that it gave then, on
// these images. That loss is least at `before`, where its Hessian is the Fisher
// information, so that what EWC assumes can be compared with what happened.
// BatchNorm statistics are those of now in both. FAILED_PRECONDITION: no
// images.
absl::StatusOr<Forgetting> ForgettingSince(const NamedValues& before,
                                           const TrainedModel& model,
                                           const ActivationStore& data,
                                           const ProgressSink& progress);

// The mean cross-entropy of the model's answers on the first images of `data`
// to `targets` [n, classes], F64.
MeanLoss SoftLabelLoss(const TrainedModel& model, const ActivationStore& data,
                       torch::Tensor targets);

}  // namespace fedgraft
