#include "client/train/round_trainer.h"

#include <algorithm>
#include <cmath>

#include "client/train/parameter_groups.h"
#include "client/train/schedule.h"
#include "common/base/status_macros.h"

namespace fedgraft {

RoundTrainer::RoundTrainer(const Options& options)
    : options_(options),
      parameters_(ValuesOf(options.model.parameters)),
      scaler_(options.model.compute->autocast == Autocast::kFp16),
      optimizer_(MakeOptimizer(options.plan, options.round,
                               options.model.parameters)) {}

absl::StatusOr<double> RoundTrainer::Run(const ProgressSink& progress) && {
  const StatisticsTraining statistics(options_.learning_layers);
  double loss = 0;
  for (int epoch = 0; epoch < options_.plan.local_epochs; ++epoch) {
    FG_ASSIGN_OR_RETURN(loss, Epoch(epoch, progress));
  }
  return loss;
}

absl::StatusOr<double> RoundTrainer::Epoch(int epoch,
                                           const ProgressSink& progress) {
  const Plan& plan = options_.plan;
  const uint64_t run_epoch =
      static_cast<uint64_t>(options_.round - 1) * plan.local_epochs + epoch;
  const auto batches =
      EpochBatches(plan, options_.round, epoch, options_.data.labels());
  Sums sums;
  for (size_t i = 0; i < batches.size(); i += plan.accumulate) {
    const double epochs_done = epoch + static_cast<double>(i) / batches.size();
    FG_RETURN_IF_ERROR(progress(epochs_done / plan.local_epochs, "train"));
    FG_ASSIGN_OR_RETURN(
        const Sums step,
        Step(absl::MakeConstSpan(batches).subspan(i, plan.accumulate),
             run_epoch));
    sums.loss += step.loss;
    sums.weight += step.weight;
  }
  return sums.weight > 0 ? sums.loss / sums.weight : 0;
}

absl::StatusOr<RoundTrainer::Sums> RoundTrainer::Step(
    absl::Span<const std::vector<int64_t>> batches, uint64_t run_epoch) {
  if (options_.head_trainer != nullptr) {
    return StepOfHead(batches.front(), run_epoch);
  }
  Sums sums;
  for (const auto& images : batches) {
    sums.weight += options_.loss.Weight(images);
  }
  // Records that count for nothing teach nothing.
  if (!(sums.weight > 0)) return Sums{};
  for (torch::Tensor parameter : parameters_) parameter.mutable_grad().reset();
  for (const auto& images : batches) {
    FG_ASSIGN_OR_RETURN(
        const torch::Tensor activations,
        options_.data.TrainingBatch(images, options_.plan.augmentation,
                                    options_.plan.seed, run_epoch));
    const torch::Tensor loss = options_.loss.Sum(
        options_.model.Logits(activations, options_.data.stage()), images);
    const double value = loss.item<double>();
    if (!std::isfinite(value)) {
      return absl::FailedPreconditionError(
          "training diverged: the loss is not finite; lower the learning rate");
    }
    sums.loss += value;
    (loss * (scaler_.scale() / sums.weight)).backward();
  }
  if (!scaler_.Unscale(parameters_)) return sums;
  for (const auto& regularizer : options_.regularizers) {
    regularizer->AddGradient();
  }
  if (options_.plan.gradient_norm_max > 0) {
    torch::nn::utils::clip_grad_norm_(parameters_,
                                      options_.plan.gradient_norm_max);
  }
  optimizer_->step();
  if (options_.steps != nullptr) ++*options_.steps;
  return sums;
}

absl::StatusOr<RoundTrainer::Sums> RoundTrainer::StepOfHead(
    const std::vector<int64_t>& images, uint64_t run_epoch) {
  const Plan& plan = options_.plan;
  const double weight = options_.loss.Weight(images);
  // Records that count for nothing teach nothing.
  if (!(weight > 0)) return Sums{};
  FG_ASSIGN_OR_RETURN(torch::Tensor features,
                      options_.data.TrainingBatch(images, plan.augmentation,
                                                  plan.seed, run_epoch));
  Network& network = *options_.model.network;
  if (options_.data.stage() < network.head_stage()) {
    torch::NoGradGuard no_grad;
    features =
        network.Run(features, options_.data.stage(), network.head_stage());
  }
  std::vector<int64_t> labels;
  labels.reserve(images.size());
  for (int64_t image : images) labels.push_back(options_.data.labels()[image]);
  const std::vector<float> weights = options_.loss.SampleWeights(images);
  FG_ASSIGN_OR_RETURN(const double loss,
                      options_.head_trainer->Step(features, labels, weights));
  if (options_.steps != nullptr) ++*options_.steps;
  return Sums{loss, weight};
}

}  // namespace fedgraft
