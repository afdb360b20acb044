#include "client/train/learner.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/model/channels_last.h"
#include "client/model/network_state.h"
#include "client/train/drift_correction.h"
#include "client/train/parameter_groups.h"
#include "client/train/private_round_trainer.h"
#include "client/train/round_trainer.h"
#include "client/train/schedule.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/crypto/system_random.h"
#include "common/model/trainable_set.h"

namespace fedgraft {
namespace {

constexpr int64_t kPredictBatch = 64;
constexpr double kBatchNormMomentum = 0.1;  // torchvision's
constexpr const char* kBatchNormParts[] = {"bias", "running_mean",
                                           "running_var", "weight"};

// While it lives, gradients are taken of parameters up to this depth only.
class DepthLimit {
 public:
  DepthLimit(const TrainedParameters& parameters, int depth)
      : parameters_(parameters) {
    for (const TrainedParameter& parameter : parameters_) {
      torch::Tensor value = parameter.value;
      value.mutable_grad().reset();
      value.set_requires_grad(parameter.depth <= depth);
    }
  }
  ~DepthLimit() {
    for (const TrainedParameter& parameter : parameters_) {
      torch::Tensor value = parameter.value;
      value.mutable_grad().reset();
      value.set_requires_grad(true);
    }
  }
  DepthLimit(const DepthLimit&) = delete;
  DepthLimit& operator=(const DepthLimit&) = delete;

 private:
  const TrainedParameters& parameters_;
};

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
  std::vector<TensorSpec> specs = layout_.tensors();
  specs.insert(specs.end(), local_layout_.tensors().begin(),
               local_layout_.tensors().end());
  std::set<std::string> trained;
  for (const TensorSpec& spec : specs) trained.insert(spec.name);
  FG_ASSIGN_OR_RETURN(trained_layout_,
                      ParameterLayout::Create(std::move(specs)));
  boundary_ = network_->head_stage();
  for (const std::string& name : trained) {
    boundary_ = std::min(boundary_, network_->StageOf(name));
  }
  parameters_ = FindTrained(trained, *network_);
  for (const TrainedParameter& parameter : parameters_) {
    torch::Tensor value = parameter.value;
    value.set_requires_grad(true);
    if (plan_.regularizers.l2_sp_alpha > 0 && parameter.depth > 0) {
      anchors_.pretrained[parameter.name] = value.detach().clone();
    }
  }
  const std::vector<int> depths = StageDepths(*network_);
  for (const auto& item : network_->named_modules()) {
    auto layer =
        std::dynamic_pointer_cast<torch::nn::BatchNorm2dImpl>(item.value());
    const std::string statistic = item.key() + ".running_mean";
    if (layer && trained.contains(statistic)) {
      learning_layers_.push_back(std::move(layer));
      learning_depths_.push_back(depths[network_->StageOf(statistic)]);
    }
  }
  return absl::OkStatus();
}

absl::Status Learner::FindLocalTensors() {
  std::vector<TensorSpec> specs;
  const bool keeps_head = plan_.personal.kind == PersonalKind::kLocalHead;
  for (const auto& item : network_->named_parameters()) {
    if (keeps_head && network_->StageOf(item.key()) == network_->head_stage()) {
      specs.push_back({item.key(), item.value().sizes().vec()});
    }
  }
  const bool keeps_layers = plan_.batch_norm == BatchNormPolicy::kLocal;
  for (const auto& item : network_->named_modules()) {
    if (!keeps_layers) break;
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

std::unique_ptr<HeadTrainer> Learner::MakeHeadTrainer(int round) {
  const auto modules = network_->named_modules();
  const auto* head = modules.find(network_->head_prefix());
  auto* linear =
      head == nullptr ? nullptr : (*head)->as<torch::nn::LinearImpl>();
  const bool covers = linear != nullptr && HeadTrainer::Covers(plan_) &&
                      boundary_ == network_->head_stage() &&
                      compute_.device.is_cpu() && parameters_.size() == 2 &&
                      linear->weight.requires_grad() &&
                      linear->bias.requires_grad();
  if (!covers) return nullptr;
  return std::make_unique<HeadTrainer>(plan_, LearningRate(plan_, round),
                                       linear->weight, linear->bias);
}

absl::Status Learner::SetTrainedValues(const ParameterVector& values) {
  return ApplyParameters(trained_layout_, values, *network_);
}
absl::StatusOr<ParameterVector> Learner::TrainedValues() {
  return ExtractParameters(trained_layout_, *network_);
}

TrainedModel Learner::model() const {
  return {network_.get(), &compute_, boundary_, parameters_};
}

void Learner::SetRunStart(NamedValues values, NamedValues fisher) {
  anchors_.run_start = std::move(values);
  anchors_.fisher = std::move(fisher);
}

absl::StatusOr<TrainingLoss> Learner::MakeLoss(const ActivationStore& data) {
  TrainingLoss::Options options;
  options.label_smoothing = plan_.loss.label_smoothing;
  options.sample_weights = sample_weights_;
  for (int64_t label : data.labels()) {
    if (label < 0 || label >= plan_.num_classes()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "a training image has label ", label, "; the plan has classes 0 to ",
          plan_.num_classes() - 1));
    }
  }
  if (!sample_weights_.empty() &&
      static_cast<int64_t>(sample_weights_.size()) != data.count()) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a weight for each of the ", data.count(),
                     " training images, ", sample_weights_.size(), " came"));
  }
  for (float weight : sample_weights_) {
    if (!std::isfinite(weight) || weight < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "weights of images are finite and not negative, not ", weight));
    }
  }
  switch (plan_.loss.class_weights) {
    case ClassWeights::kNone:
      break;
    case ClassWeights::kLocal:
      options.class_weights =
          InverseFrequencies(CountClasses(data.labels(), plan_.num_classes()));
      break;
    case ClassWeights::kFederated:
      if (static_cast<int>(class_counts_.size()) != plan_.num_classes()) {
        return absl::FailedPreconditionError(absl::StrCat(
            "class weights from all sites need the counts of ",
            plan_.num_classes(), " classes, ", class_counts_.size(), " came"));
      }
      options.class_weights = InverseFrequencies(class_counts_);
      break;
  }
  for (size_t c = 0; c < options.class_weights.size(); ++c) {
    if (options.class_weights[c] > 0 || told_of_absent_classes_) continue;
    FG_LOG_WARNING("class {} has no training image: its weight is 0", c);
  }
  told_of_absent_classes_ = true;
  return TrainingLoss(std::move(options), data.labels(), compute_.device);
}

absl::StatusOr<double> Learner::Train(int round, const Anchors& anchors,
                                      const NamedValues& correction,
                                      const ActivationStore& data,
                                      const ProgressSink& progress) {
  if (data.count() == 0) {
    return absl::FailedPreconditionError("there are no training images");
  }
  if (plan_.regularizers.ewc_lambda > 0 && !has_run_start()) {
    return absl::FailedPreconditionError(
        "EWC needs the run's start, which has not been set");
  }
  FG_ASSIGN_OR_RETURN(const TrainingLoss loss, MakeLoss(data));
  const int depth = DepthInRound(plan_.layer_rates, round, parameters_);
  TrainedModel model{network_.get(), &compute_, network_->head_stage(), {}};
  for (const TrainedParameter& parameter : parameters_) {
    if (parameter.depth > depth) continue;
    model.parameters.push_back(parameter);
    model.boundary =
        std::min(model.boundary, network_->StageOf(parameter.name));
  }
  BatchNormLayers layers;
  for (size_t i = 0; i < learning_layers_.size(); ++i) {
    if (learning_depths_[i] <= depth) layers.push_back(learning_layers_[i]);
  }
  const DepthLimit limit(parameters_, depth);
  auto regularizers = MakeRegularizers(plan_, model.parameters, anchors);
  if (!correction.empty()) {
    regularizers.push_back(
        std::make_unique<DriftCorrection>(model.parameters, correction));
  }
  if (plan_.differential_privacy.kind == DifferentialPrivacy::kRecord) {
    if (!sample_weights_.empty()) {
      return absl::FailedPreconditionError(
          "weights of images do not go with record privacy");
    }
    SystemRandom random;
    return PrivateRoundTrainer(
               {plan_, round, model, loss, regularizers, data, random})
        .Run(progress);
  }
  const std::unique_ptr<HeadTrainer> head_trainer =
      anchors.shared.empty() && correction.empty() ? MakeHeadTrainer(round)
                                                   : nullptr;
  steps_ = 0;
  return RoundTrainer({plan_, round, model, layers, loss, regularizers, data,
                       head_trainer.get(), &steps_})
      .Run(progress);
}

absl::StatusOr<double> Learner::TrainRound(int round,
                                           const ActivationStore& data,
                                           const ProgressSink& progress) {
  Anchors anchors = anchors_;
  if (plan_.regularizers.fed_prox_mu > 0) {
    anchors.round_start = CopyValues(parameters_);
  }
  return Train(round, anchors, drift_correction_, data, progress);
}

absl::StatusOr<double> Learner::TrainPersonalRound(
    int round, const ParameterVector& shared, const ActivationStore& data,
    const ProgressSink& progress) {
  if (static_cast<int64_t>(shared.size()) != trained_layout_.Count()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the shared model has ", shared.size(),
                     " values, the trained layout ", trained_layout_.Count()));
  }
  Anchors anchors = anchors_;
  anchors.shared = ToNamedValues(trained_layout_, shared, compute_.device);
  return Train(round, anchors, /*correction=*/{}, data, progress);
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
