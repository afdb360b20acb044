#include "client/train/learner.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/model/network_state.h"
#include "client/train/fused_optimizer.h"
#include "client/train/schedule.h"
#include "common/base/status_macros.h"
#include "common/model/trainable_set.h"

namespace fedgraft {
namespace {

constexpr int64_t kPredictBatch = 64;
constexpr double kBatchNormMomentum = 0.1;  // torchvision's
constexpr const char* kBatchNormParts[] = {"bias", "running_mean",
                                           "running_var", "weight"};

using BatchNormLayers =
    std::vector<std::shared_ptr<torch::nn::BatchNorm2dImpl>>;

// Convolutions on the CPU run faster with the channels last in memory; what
// they compute then comes out in that order too.
void PutChannelsLast(Network& network) {
  torch::NoGradGuard no_grad;
  for (torch::Tensor& parameter : network.parameters()) {
    if (parameter.dim() != 4) continue;
    parameter.set_data(parameter.contiguous(torch::MemoryFormat::ChannelsLast));
  }
}

// While it lives, these layers normalise by the batch and learn statistics.
class StatisticsTraining {
 public:
  explicit StatisticsTraining(const BatchNormLayers& layers) : layers_(layers) {
    for (const auto& layer : layers_) layer->train(true);
  }
  ~StatisticsTraining() {
    for (const auto& layer : layers_) layer->train(false);
  }
  StatisticsTraining(const StatisticsTraining&) = delete;
  StatisticsTraining& operator=(const StatisticsTraining&) = delete;

 private:
  const BatchNormLayers& layers_;
};

std::vector<int64_t> Pick(const std::vector<int64_t>& values,
                          const std::vector<int64_t>& at) {
  std::vector<int64_t> picked;
  picked.reserve(at.size());
  for (int64_t index : at) picked.push_back(values[index]);
  return picked;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Learner>> Learner::Create(
    const Plan& plan, ParameterLayout layout, std::shared_ptr<Network> network,
    const Compute& compute) {
  std::unique_ptr<Learner> learner(
      new Learner(plan, std::move(layout), std::move(network), compute));
  FG_RETURN_IF_ERROR(learner->Prepare());
  return learner;
}

absl::Status Learner::Prepare() {
  // Names and shapes, before anything changes.
  FG_RETURN_IF_ERROR(ExtractParameters(layout_, *network_).status());
  network_->to(compute_.device);
  if (compute_.device.is_cpu()) PutChannelsLast(*network_);
  network_->eval();
  for (torch::Tensor& parameter : network_->parameters()) {
    parameter.set_requires_grad(false);
  }
  FG_RETURN_IF_ERROR(FindLocalTensors());
  std::set<std::string> trained;
  for (const TensorSpec& spec : layout_.tensors()) trained.insert(spec.name);
  for (const TensorSpec& spec : local_layout_.tensors()) {
    trained.insert(spec.name);
  }
  boundary_ = network_->head_stage();
  for (const std::string& name : trained) {
    boundary_ = std::min(boundary_, network_->StageOf(name));
  }
  for (auto& item : network_->named_parameters()) {
    if (!trained.contains(item.key())) continue;
    item.value().set_requires_grad(true);
    trained_.push_back(item.value());
  }
  for (const auto& item : network_->named_modules()) {
    auto layer =
        std::dynamic_pointer_cast<torch::nn::BatchNorm2dImpl>(item.value());
    if (layer && trained.contains(item.key() + ".running_mean")) {
      learning_layers_.push_back(std::move(layer));
    }
  }
  return absl::OkStatus();
}

absl::Status Learner::FindLocalTensors() {
  if (plan_.batch_norm != BatchNormPolicy::kLocal) return absl::OkStatus();
  std::vector<TensorSpec> specs;
  for (const auto& item : network_->named_modules()) {
    auto layer =
        std::dynamic_pointer_cast<torch::nn::BatchNorm2dImpl>(item.value());
    if (!layer || !UnfreezesBatchNorm(plan_, item.key())) continue;
    const std::vector<int64_t> shape = layer->running_mean.sizes().vec();
    for (const char* part : kBatchNormParts) {
      specs.push_back({absl::StrCat(item.key(), ".", part), shape,
                       part == kBatchNormParts[1]   ? TensorKind::kBatchNormMean
                       : part == kBatchNormParts[2] ? TensorKind::kBatchNormVar
                                                    : TensorKind::kWeight});
    }
  }
  if (specs.empty()) return absl::OkStatus();
  FG_ASSIGN_OR_RETURN(local_layout_, ParameterLayout::Create(std::move(specs)));
  return absl::OkStatus();
}

absl::Status Learner::SetValues(const ParameterVector& values) {
  return ApplyParameters(layout_, values, *network_);
}
absl::StatusOr<ParameterVector> Learner::Values() {
  return ExtractParameters(layout_, *network_);
}
absl::Status Learner::SetLocalValues(const ParameterVector& values) {
  return ApplyParameters(local_layout_, values, *network_);
}
absl::StatusOr<ParameterVector> Learner::LocalValues() {
  return ExtractParameters(local_layout_, *network_);
}

std::unique_ptr<torch::optim::Optimizer> Learner::MakeOptimizer(int round) {
  const OptimizerSpec& spec = plan_.optimizer;
  const double rate = LearningRate(plan_, round);
  if (spec.kind == OptimizerKind::kAdamW) {
    return MakeAdamW({trained_},
                     torch::optim::AdamWOptions(rate)
                         .betas(std::make_tuple(spec.beta1, spec.beta2))
                         .weight_decay(spec.weight_decay));
  }
  return MakeSgd({trained_}, torch::optim::SGDOptions(rate)
                                 .momentum(spec.momentum)
                                 .weight_decay(spec.weight_decay));
}

std::unique_ptr<HeadTrainer> Learner::MakeHeadTrainer(int round) {
  const auto modules = network_->named_modules();
  const auto* head = modules.find(network_->head_prefix());
  auto* linear =
      head == nullptr ? nullptr : (*head)->as<torch::nn::LinearImpl>();
  const bool covers = linear != nullptr && HeadTrainer::Covers(plan_) &&
                      boundary_ == network_->head_stage() &&
                      compute_.device.is_cpu() && trained_.size() == 2 &&
                      linear->weight.requires_grad() &&
                      linear->bias.requires_grad();
  if (!covers) return nullptr;
  return std::make_unique<HeadTrainer>(plan_, LearningRate(plan_, round),
                                       linear->weight, linear->bias);
}

absl::StatusOr<double> Learner::Step(const torch::Tensor& activations,
                                     const std::vector<int64_t>& labels,
                                     int stage, LossScaler& scaler,
                                     torch::optim::Optimizer& optimizer) {
  torch::Tensor loss;
  {
    AutocastScope autocast(compute_);
    torch::Tensor hidden = activations;
    if (stage < boundary_) {
      torch::NoGradGuard no_grad;
      hidden = network_->Run(hidden, stage, boundary_);
      stage = boundary_;
    }
    if (head_trainer_ != nullptr) return head_trainer_->Step(hidden, labels);
    const torch::Tensor logits =
        network_->Run(hidden, stage, network_->stage_count());
    loss = torch::nn::functional::cross_entropy(
        logits.to(torch::kFloat32), torch::tensor(labels).to(compute_.device));
  }
  const double value = loss.item<double>();
  if (!std::isfinite(value)) {
    return absl::FailedPreconditionError(
        "training diverged: the loss is not finite; lower the learning rate");
  }
  for (torch::Tensor& parameter : trained_) parameter.mutable_grad().reset();
  (loss * scaler.scale()).backward();
  if (scaler.Unscale(trained_)) optimizer.step();
  return value * static_cast<double>(labels.size());
}

absl::StatusOr<double> Learner::TrainEpoch(int round, int epoch,
                                           const ActivationStore& data,
                                           LossScaler& scaler,
                                           torch::optim::Optimizer& optimizer,
                                           const ProgressSink& progress) {
  const uint64_t run_epoch =
      static_cast<uint64_t>(round - 1) * plan_.local_epochs + epoch;
  const auto batches = EpochBatches(plan_, round, epoch, data.count());
  double loss_sum = 0;
  for (size_t i = 0; i < batches.size(); ++i) {
    const double epochs_done = epoch + static_cast<double>(i) / batches.size();
    FG_RETURN_IF_ERROR(progress(epochs_done / plan_.local_epochs, "train"));
    FG_ASSIGN_OR_RETURN(torch::Tensor batch,
                        data.TrainingBatch(batches[i], plan_.augmentation,
                                           plan_.seed, run_epoch));
    FG_ASSIGN_OR_RETURN(
        double loss, Step(batch, Pick(data.labels(), batches[i]), data.stage(),
                          scaler, optimizer));
    loss_sum += loss;
  }
  return loss_sum / static_cast<double>(data.count());
}

absl::StatusOr<double> Learner::TrainRound(int round,
                                           const ActivationStore& data,
                                           const ProgressSink& progress) {
  if (data.count() == 0) {
    return absl::FailedPreconditionError("there are no training images");
  }
  // Optimiser and loss scale start anew, so that a round that is done again
  // gives the same bytes.
  LossScaler scaler(compute_.autocast == Autocast::kFp16);
  std::unique_ptr<torch::optim::Optimizer> optimizer = MakeOptimizer(round);
  const StatisticsTraining statistics(learning_layers_);
  head_trainer_ = MakeHeadTrainer(round);
  double loss = 0;
  for (int epoch = 0; epoch < plan_.local_epochs; ++epoch) {
    FG_ASSIGN_OR_RETURN(
        loss, TrainEpoch(round, epoch, data, scaler, *optimizer, progress));
  }
  return loss;
}

absl::Status Learner::RefreshStatistics(const ActivationStore& data,
                                        int batches) {
  torch::NoGradGuard no_grad;
  const StatisticsTraining statistics(learning_layers_);
  std::vector<std::vector<int64_t>> order =
      EpochBatches(plan_, 1, 0, data.count());
  order.resize(std::min<size_t>(order.size(), batches));
  absl::Status status;
  for (size_t i = 0; status.ok() && i < order.size(); ++i) {
    // Momentum 1 / k makes the k-th running value the mean of k batches.
    for (const auto& layer : learning_layers_) {
      layer->options.momentum(1.0 / static_cast<double>(i + 1));
    }
    absl::StatusOr<torch::Tensor> batch = data.Batch(order[i]);
    status = batch.status();
    if (!status.ok()) break;
    AutocastScope autocast(compute_);
    network_->Run(*batch, data.stage(), network_->head_stage());
  }
  for (const auto& layer : learning_layers_) {
    layer->options.momentum(kBatchNormMomentum);
  }
  return status;
}

absl::StatusOr<Predictions> Learner::Predict(const ActivationStore& data,
                                             const ProgressSink& progress) {
  torch::NoGradGuard no_grad;
  Predictions predictions;
  predictions.classes = plan_.num_classes();
  for (int64_t begin = 0; begin < data.count(); begin += kPredictBatch) {
    FG_RETURN_IF_ERROR(
        progress(static_cast<double>(begin) / data.count(), "evaluate"));
    std::vector<int64_t> images;
    for (int64_t i = begin; i < std::min(data.count(), begin + kPredictBatch);
         ++i) {
      images.push_back(i);
    }
    FG_ASSIGN_OR_RETURN(torch::Tensor batch, data.Batch(images));
    torch::Tensor logits;
    {
      AutocastScope autocast(compute_);
      logits = network_->Run(batch, data.stage(), network_->stage_count());
    }
    const torch::Tensor log_probabilities =
        torch::log_softmax(logits.to(torch::kCPU, torch::kFloat64), 1);
    if (!torch::isfinite(log_probabilities).all().item<bool>()) {
      return absl::FailedPreconditionError(
          "the model's outputs are not finite");
    }
    const torch::Tensor probabilities =
        log_probabilities.exp().to(torch::kFloat32).contiguous();
    const float* row = probabilities.data_ptr<float>();
    for (size_t i = 0; i < images.size(); ++i, row += predictions.classes) {
      const int64_t label = data.labels()[images[i]];
      if (label >= predictions.classes) {
        return absl::InvalidArgumentError(
            absl::StrCat("label ", label, "; the plan has ",
                         predictions.classes, " classes"));
      }
      predictions.probabilities.insert(predictions.probabilities.end(), row,
                                       row + predictions.classes);
      predictions.labels.push_back(static_cast<int>(label));
      predictions.losses.push_back(
          label < 0 ? 0.0
                    : -log_probabilities[static_cast<int64_t>(i)][label]
                           .item<double>());
    }
  }
  return predictions;
}

}  // namespace fedgraft
