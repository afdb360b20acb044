#include "client/train/feature_rows.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "common/base/check.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr int64_t kBatch = 64;

}  // namespace

torch::Tensor ChannelMeans(const torch::Tensor& activations) {
  FG_CHECK(activations.dim() >= 2);
  const torch::Tensor rows = activations.to(torch::kCPU, torch::kFloat64);
  return (rows.dim() == 2 ? rows : rows.flatten(2).mean(2)).contiguous();
}

MatrixView AsMatrix(const torch::Tensor& rows) {
  FG_CHECK(rows.dim() == 2 && rows.is_contiguous() &&
           rows.scalar_type() == torch::kFloat64 && rows.device().is_cpu());
  return {{rows.data_ptr<double>(), static_cast<size_t>(rows.numel())},
          rows.size(0),
          rows.size(1)};
}

absl::StatusOr<torch::Tensor> HeadFeatures(const ActivationStore& store,
                                           Network& network,
                                           const Compute& compute,
                                           const ProgressSink& progress) {
  torch::NoGradGuard no_grad;
  torch::Tensor features;
  for (int64_t begin = 0; begin < store.count(); begin += kBatch) {
    FG_RETURN_IF_ERROR(
        progress(static_cast<double>(begin) / store.count(), "features"));
    std::vector<int64_t> images(std::min(kBatch, store.count() - begin));
    std::iota(images.begin(), images.end(), begin);
    FG_ASSIGN_OR_RETURN(const torch::Tensor batch, store.Batch(images));
    torch::Tensor rows;
    {
      AutocastScope autocast(compute);
      rows =
          ChannelMeans(network.Run(batch, store.stage(), network.head_stage()));
    }
    if (begin == 0) {
      features = torch::empty({store.count(), rows.size(1)}, torch::kFloat64);
    }
    features.narrow(0, begin, rows.size(0)).copy_(rows);
  }
  if (!features.defined()) {
    return absl::FailedPreconditionError("there are no images");
  }
  return features;
}

absl::StatusOr<FeatureMoments> MomentsOf(const torch::Tensor& rows,
                                         const std::vector<int64_t>& labels,
                                         int num_classes) {
  FG_ASSIGN_OR_RETURN(const FeatureMomentsLayout layout,
                      FeatureMomentsLayout::Create(rows.size(1), num_classes));
  FeatureMoments moments(layout);
  FG_RETURN_IF_ERROR(moments.Add(AsMatrix(rows), labels));
  return moments;
}

absl::StatusOr<FeatureMoments> HeadMoments(const ActivationStore& store,
                                           Network& network,
                                           const Compute& compute,
                                           int num_classes,
                                           const ProgressSink& progress) {
  FG_ASSIGN_OR_RETURN(const torch::Tensor features,
                      HeadFeatures(store, network, compute, progress));
  return MomentsOf(features, store.labels(), num_classes);
}

}  // namespace fedgraft
