#include "client/train/look_records.h"

#include <torch/torch.h>

#include <algorithm>
#include <numeric>

#include "client/train/feature_rows.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"

namespace fedgraft {
namespace {

constexpr int64_t kBatch = 64;

}  // namespace

SketchRecords LookRecords::View() const {
  const auto n = static_cast<int64_t>(labels.size());
  SketchRecords view;
  view.projected = {projected, n, projected_dim};
  view.labels = labels;
  view.outputs = {outputs, n, classes};
  view.acquisition = {acquisition, n, kAcquisitions};
  view.devices = devices;
  return view;
}

std::string LookRecords::Digest() const {
  Sha256Hasher hasher;
  hasher.Update({reinterpret_cast<const uint8_t*>(projected.data()),
                 projected.size() * sizeof(double)});
  hasher.Update({reinterpret_cast<const uint8_t*>(labels.data()),
                 labels.size() * sizeof(int64_t)});
  return hasher.Finish().AsWire();
}

absl::StatusOr<LookRecords> ReadLookRecords(const ActivationStore& store,
                                            Network& network,
                                            const Compute& compute,
                                            const SketchProjection& projection,
                                            bool with_outputs,
                                            const ProgressSink& progress) {
  if (store.count() == 0) {
    return absl::FailedPreconditionError("there are no images");
  }
  torch::NoGradGuard no_grad;
  LookRecords records;
  records.labels = store.labels();
  for (int64_t begin = 0; begin < store.count(); begin += kBatch) {
    FG_RETURN_IF_ERROR(
        progress(static_cast<double>(begin) / store.count(), "features"));
    std::vector<int64_t> images(std::min(kBatch, store.count() - begin));
    std::iota(images.begin(), images.end(), begin);
    FG_ASSIGN_OR_RETURN(const torch::Tensor batch, store.Batch(images));
    torch::Tensor features, logits;
    {
      AutocastScope autocast(compute);
      features = network.Run(batch, store.stage(), network.head_stage());
      if (with_outputs) logits = network.Head(features);
    }
    const torch::Tensor rows = ChannelMeans(features);
    FG_ASSIGN_OR_RETURN(const std::vector<double> projected,
                        projection.Map(AsMatrix(rows)));
    records.projected_dim =
        static_cast<int64_t>(projected.size()) / rows.size(0);
    records.projected.insert(records.projected.end(), projected.begin(),
                             projected.end());
    if (!with_outputs) continue;
    const torch::Tensor outputs =
        torch::softmax(logits.to(torch::kCPU, torch::kFloat64), 1).contiguous();
    if (!torch::isfinite(outputs).all().item<bool>()) {
      return absl::FailedPreconditionError(
          "the model's outputs are not finite");
    }
    records.classes = outputs.size(1);
    const double* output = outputs.data_ptr<double>();
    records.outputs.insert(records.outputs.end(), output,
                           output + outputs.numel());
  }
  // Measured at the latest by what the loop has read.
  for (const AcquisitionNumbers& image : store.acquisition()) {
    records.acquisition.insert(records.acquisition.end(), image.begin(),
                               image.end());
  }
  records.devices = store.devices();
  return records;
}

}  // namespace fedgraft
