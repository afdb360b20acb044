#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "client/model/network.h"
#include "client/train/activation_store.h"
#include "client/train/compute.h"
#include "client/train/session.h"
#include "common/transfer/feature_moments.h"
#include "common/transfer/matrix_view.h"

// From activations to what common/transfer measures: one vector a record, in
// 64 bits. May throw c10::Error; callers are facades.

namespace fedgraft {

// Activations [n, c, ...], averaged over all but records and channels: [n, c],
// F64, contiguous, on the CPU.
torch::Tensor ChannelMeans(const torch::Tensor& activations);

// A view of such a tensor [n, c], which outlives it.
MatrixView AsMatrix(const torch::Tensor& rows);

// ChannelMeans of what the head of `network` gets for each image of `store`.
absl::StatusOr<torch::Tensor> HeadFeatures(const ActivationStore& store,
                                           Network& network,
                                           const Compute& compute,
                                           const ProgressSink& progress);

// The sums of such rows and their labels. INVALID_ARGUMENT: a label outside the
// classes, or features that are not finite.
absl::StatusOr<FeatureMoments> MomentsOf(const torch::Tensor& rows,
                                         const std::vector<int64_t>& labels,
                                         int num_classes);

// MomentsOf HeadFeatures and the store's labels.
absl::StatusOr<FeatureMoments> HeadMoments(const ActivationStore& store,
                                           Network& network,
                                           const Compute& compute,
                                           int num_classes,
                                           const ProgressSink& progress);

}  // namespace fedgraft
