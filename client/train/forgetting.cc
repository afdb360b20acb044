#include "client/train/forgetting.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr int64_t kBatch = 64;

std::vector<int64_t> BatchAt(int64_t batch, int64_t records) {
  const int64_t begin = batch * kBatch;
  std::vector<int64_t> images(std::min(kBatch, records - begin));
  std::iota(images.begin(), images.end(), begin);
  return images;
}

int64_t BatchCount(int64_t records) { return (records + kBatch - 1) / kBatch; }

// Probabilities [records, classes] of the model as it is now.
absl::StatusOr<torch::Tensor> Probabilities(const TrainedModel& model,
                                            const ActivationStore& data,
                                            int64_t records) {
  torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> rows;
  for (int64_t i = 0; i < BatchCount(records); ++i) {
    FG_ASSIGN_OR_RETURN(const torch::Tensor batch,
                        data.Batch(BatchAt(i, records)));
    rows.push_back(torch::softmax(
        model.Logits(batch, data.stage()).to(torch::kFloat64), 1));
  }
  return torch::cat(rows);
}

}  // namespace

MeanLoss SoftLabelLoss(const TrainedModel& model, const ActivationStore& data,
                       torch::Tensor targets) {
  const int64_t records = targets.size(0);
  MeanLoss loss;
  loss.batches = BatchCount(records);
  loss.records = static_cast<double>(records);
  loss.batch = [&model, &data, targets = std::move(targets),
                records](int64_t i) -> absl::StatusOr<torch::Tensor> {
    const std::vector<int64_t> images = BatchAt(i, records);
    FG_ASSIGN_OR_RETURN(const torch::Tensor batch, data.Batch(images));
    const torch::Tensor log_probabilities = torch::log_softmax(
        model.Logits(batch, data.stage()).to(torch::kFloat64), 1);
    return -(targets.narrow(0, images.front(),
                            static_cast<int64_t>(images.size())) *
             log_probabilities)
                .sum();
  };
  return loss;
}

absl::StatusOr<Forgetting> ForgettingSince(const NamedValues& before,
                                           const TrainedModel& model,
                                           const ActivationStore& data,
                                           const ProgressSink& progress) {
  if (data.count() == 0) {
    return absl::FailedPreconditionError(
        "there are no images to tell what was forgotten");
  }
  FG_RETURN_IF_ERROR(progress(0, "forgetting"));
  const int64_t records = std::min(data.count(), kForgettingRecordsMax);
  const NamedValues now = CopyValues(model.parameters);
  SetValues(before, model.parameters);
  absl::StatusOr<torch::Tensor> targets = Probabilities(model, data, records);
  SetValues(now, model.parameters);
  FG_RETURN_IF_ERROR(targets.status());
  return MeasureForgetting(SoftLabelLoss(model, data, *std::move(targets)),
                           model.parameters, before);
}

}  // namespace fedgraft
