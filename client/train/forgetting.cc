#include "client/train/forgetting.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr int64_t kBatch = 64;

// At most `most` of the images, evenly spaced.
std::vector<int64_t> ChooseImages(int64_t count, int64_t most) {
  const int64_t chosen = std::min(count, most);
  std::vector<int64_t> images(chosen);
  for (int64_t i = 0; i < chosen; ++i) images[i] = i * count / chosen;
  return images;
}

std::vector<int64_t> BatchAt(const std::vector<int64_t>& images,
                             int64_t batch) {
  const auto begin = images.begin() + batch * kBatch;
  return {begin, begin + std::min<int64_t>(kBatch, images.end() - begin)};
}

int64_t BatchCount(const std::vector<int64_t>& images) {
  return (static_cast<int64_t>(images.size()) + kBatch - 1) / kBatch;
}

// Before each batch, so that long work is seen to be alive and can be ended.
using Step = std::function<absl::Status()>;

MeanLoss WithStep(MeanLoss loss, const Step& step) {
  loss.batch = [batch = std::move(loss.batch),
                step](int64_t i) -> absl::StatusOr<torch::Tensor> {
    FG_RETURN_IF_ERROR(step());
    return batch(i);
  };
  return loss;
}

// Probabilities [images, classes] of the model as it is now.
absl::StatusOr<torch::Tensor> Probabilities(const TrainedModel& model,
                                            const ActivationStore& data,
                                            const std::vector<int64_t>& images,
                                            const Step& step) {
  torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> rows;
  for (int64_t i = 0; i < BatchCount(images); ++i) {
    FG_RETURN_IF_ERROR(step());
    FG_ASSIGN_OR_RETURN(const torch::Tensor batch,
                        data.Batch(BatchAt(images, i)));
    rows.push_back(torch::softmax(
        model.Logits(batch, data.stage()).to(torch::kFloat64), 1));
  }
  return torch::cat(rows);
}

// Of the loss of which the model as it is now has the least.
absl::StatusOr<std::map<int, TraceEstimate>> TracesHere(
    const TrainedModel& model, const ActivationStore& data,
    const std::vector<int64_t>& images, uint64_t seed, const Step& step) {
  FG_ASSIGN_OR_RETURN(torch::Tensor targets,
                      Probabilities(model, data, images, step));
  return HessianTraces(
      WithStep(SoftLabelLoss(model, data, images, std::move(targets)), step),
      model.parameters, seed, kTraceProbes);
}

}  // namespace

MeanLoss SoftLabelLoss(const TrainedModel& model, const ActivationStore& data,
                       std::vector<int64_t> images, torch::Tensor targets) {
  MeanLoss loss;
  loss.batches = BatchCount(images);
  loss.records = static_cast<double>(images.size());
  loss.batch = [&model, &data, images = std::move(images),
                targets = std::move(targets)](
                   int64_t i) -> absl::StatusOr<torch::Tensor> {
    const std::vector<int64_t> at = BatchAt(images, i);
    FG_ASSIGN_OR_RETURN(const torch::Tensor batch, data.Batch(at));
    const torch::Tensor log_probabilities = torch::log_softmax(
        model.Logits(batch, data.stage()).to(torch::kFloat64), 1);
    return -(targets.narrow(0, i * kBatch, static_cast<int64_t>(at.size())) *
             log_probabilities)
                .sum();
  };
  return loss;
}

absl::StatusOr<Forgetting> ForgettingSince(const NamedValues& before,
                                           const TrainedModel& model,
                                           const ActivationStore& data,
                                           uint64_t seed,
                                           const ProgressSink& progress) {
  if (data.count() == 0) {
    return absl::FailedPreconditionError(
        "there are no images to tell what was forgotten");
  }
  const std::vector<int64_t> images =
      ChooseImages(data.count(), kForgettingRecordsMax);
  const std::vector<int64_t> trace_images =
      ChooseImages(data.count(), kTraceRecordsMax);
  // Probabilities, loss after and before, and one product; probabilities and
  // a product for each probe.
  const int64_t steps =
      4 * BatchCount(images) + (1 + kTraceProbes) * BatchCount(trace_images);
  int64_t done = 0;
  const Step step = [&done, steps, &progress] {
    return progress(static_cast<double>(done++) / static_cast<double>(steps),
                    "forgetting");
  };
  const NamedValues now = CopyValues(model.parameters);
  SetValues(before, model.parameters);
  absl::StatusOr<torch::Tensor> targets =
      Probabilities(model, data, images, step);
  absl::StatusOr<std::map<int, TraceEstimate>> traces =
      TracesHere(model, data, trace_images, seed, step);
  SetValues(now, model.parameters);
  FG_RETURN_IF_ERROR(targets.status());
  FG_RETURN_IF_ERROR(traces.status());
  FG_ASSIGN_OR_RETURN(
      Forgetting forgetting,
      MeasureForgetting(
          WithStep(SoftLabelLoss(model, data, images, *std::move(targets)),
                   step),
          model.parameters, before));
  forgetting.traces = *std::move(traces);
  return forgetting;
}

}  // namespace fedgraft
