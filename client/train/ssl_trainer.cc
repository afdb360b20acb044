#include "client/train/ssl_trainer.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/data/random_view.h"
#include "client/data/seeded_random.h"
#include "client/model/channels_last.h"
#include "client/model/network_state.h"
#include "client/train/ssl_card.h"
#include "client/train/ssl_loss.h"
#include "client/train/trained_model.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

// Keep these random numbers apart from others of the same seed.
constexpr uint64_t kOrderStream = 0x73736c6f72646572;  // "sslorder"
constexpr uint64_t kProjectorStream = 0x70726f6a;      // "proj"
// A few seconds' worth; statistics need no more.
constexpr int64_t kStatisticsBatches = 20;
constexpr double kBatchNormMomentum = 0.1;  // torchvision's
constexpr int64_t kEmbedBatch = 64;
constexpr int kChannels = 3;

BatchNormLayers LayersOf(Network& network) {
  BatchNormLayers layers;
  for (const auto& module : network.modules()) {
    auto layer = std::dynamic_pointer_cast<torch::nn::BatchNorm2dImpl>(module);
    if (layer) layers.push_back(std::move(layer));
  }
  return layers;
}

// What a value list of a PreprocessingSpec says about channel `c`.
double OfChannel(const std::vector<double>& values, int c, double otherwise) {
  if (values.empty()) return otherwise;
  return values[values.size() == 1 ? 0 : c];
}

}  // namespace

SslTrainer::SslTrainer(const SelfSupervisedOptions& options, Network& network,
                       const ActivationStore& images, const Compute& compute)
    : options_(options), network_(network), images_(images), compute_(compute) {
  FG_CHECK(images.count() >= 2);
  batch_size_ = std::min<int64_t>(options.batch_size, images.count());
  steps_per_epoch_ = images.count() / batch_size_;
  for (int c = 0; c < kChannels; ++c) {
    mean_[c] = static_cast<float>(OfChannel(options.preprocessing.mean, c, 0));
    scale_[c] =
        static_cast<float>(1 / OfChannel(options.preprocessing.std, c, 1));
  }
  network_.to(compute_.device);
  if (compute_.device.is_cpu()) PutChannelsLast(network_);
  network_.train();
  const auto head_weight =
      network_.named_parameters()[network_.head_prefix() + ".weight"];
  projector_ =
      std::make_shared<Projector>(head_weight.size(1), ProjectorSizes(options),
                                  MixSeed({options.seed, kProjectorStream}));
  projector_->to(compute_.device);

  std::map<std::string, torch::Tensor> trained;
  const std::string head = network_.head_prefix() + ".";
  for (const auto& item : network_.named_parameters()) {
    torch::Tensor value = item.value();
    const bool is_head = item.key().starts_with(head);
    value.set_requires_grad(!is_head);
    if (!is_head) trained["network/" + item.key()] = value;
  }
  for (const auto& item : projector_->named_parameters()) {
    trained["projector/" + item.key()] = item.value();
  }
  optimizer_ = std::make_unique<ResumableOptimizer>(options.optimizer, trained);
}

std::vector<int64_t> SslTrainer::ImagesOf(int64_t step) {
  const int64_t epoch = (step - 1) / steps_per_epoch_;
  if (epoch != order_epoch_) {
    order_.resize(images_.count());
    std::iota(order_.begin(), order_.end(), 0);
    SeededRandom random(
        {options_.seed, kOrderStream, static_cast<uint64_t>(epoch)});
    random.Shuffle(order_);
    order_epoch_ = epoch;
  }
  const int64_t begin = (step - 1) % steps_per_epoch_ * batch_size_;
  return {order_.begin() + begin, order_.begin() + begin + batch_size_};
}

void SslTrainer::Normalise(float* chw) const {
  const int64_t plane =
      int64_t{options_.preprocessing.size} * options_.preprocessing.size;
  for (int c = 0; c < kChannels; ++c) {
    for (int64_t i = 0; i < plane; ++i, ++chw) {
      *chw = (*chw - mean_[c]) * scale_[c];
    }
  }
}

absl::StatusOr<torch::Tensor> SslTrainer::Views(
    const std::vector<int64_t>& images, uint64_t epoch) {
  FG_ASSIGN_OR_RETURN(const torch::Tensor plain, images_.Batch(images));
  torch::Tensor views = torch::cat({plain, plain}).contiguous();
  const int size = options_.preprocessing.size;
  const auto n = static_cast<int64_t>(images.size());
  const int64_t stride = views.stride(0);
  float* data = views.data_ptr<float>();
  at::parallel_for(0, 2 * n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const ViewKey key{options_.seed, 2 * epoch + (i < n ? 0 : 1),
                        static_cast<uint64_t>(images[i % n])};
      float* chw = data + i * stride;
      ApplyRandomView(DrawRandomView(options_.views, key, size), size,
                      {chw, static_cast<size_t>(stride)});
      Normalise(chw);
    }
  });
  return views.to(compute_.device);
}

absl::StatusOr<torch::Tensor> SslTrainer::PlainBatch(
    const std::vector<int64_t>& images) {
  FG_ASSIGN_OR_RETURN(torch::Tensor batch, images_.Batch(images));
  batch = batch.contiguous();
  for (int64_t i = 0; i < batch.size(0); ++i) {
    Normalise(batch.data_ptr<float>() + i * batch.stride(0));
  }
  return batch.to(compute_.device);
}

torch::Tensor SslTrainer::Embed(const torch::Tensor& images) {
  const torch::Tensor features = network_.Features(images);
  return features.dim() == 2 ? features : features.flatten(2).mean(2);
}

absl::StatusOr<double> SslTrainer::Step(int64_t step) {
  const auto epoch = static_cast<uint64_t>((step - 1) / steps_per_epoch_);
  const std::vector<int64_t> images = ImagesOf(step);
  FG_ASSIGN_OR_RETURN(const torch::Tensor views, Views(images, epoch));
  const torch::Tensor projections = projector_->forward(Embed(views));
  const std::vector<torch::Tensor> halves = projections.chunk(2);
  const torch::Tensor loss =
      options_.method == SslMethod::kSimClr
          ? NtXentLoss(halves[0], halves[1], options_.temperature)
          : VicRegLoss(
                halves[0], halves[1],
                {options_.invariance, options_.variance, options_.covariance});
  const double value = loss.item<double>();
  if (!std::isfinite(value)) {
    return absl::FailedPreconditionError(
        absl::StrCat("training diverged: the loss of step ", step,
                     " is not finite; lower the learning rate"));
  }
  loss.backward();
  const auto warmup = static_cast<int64_t>(
      std::llround(options_.warmup * static_cast<double>(steps())));
  optimizer_->Step(
      WarmupCosineRate(options_.optimizer.learning_rate, step, steps(), warmup),
      step);
  return value;
}

std::map<std::string, torch::Tensor> SslTrainer::State() {
  std::map<std::string, torch::Tensor> state = optimizer_->State();
  for (const auto& [name, tensor] : NamedTensors(network_)) {
    state["network/" + name] = tensor;
  }
  for (const auto& item : projector_->named_parameters()) {
    state["projector/" + item.key()] = item.value();
  }
  for (const auto& item : projector_->named_buffers()) {
    state["projector/" + item.key()] = item.value();
  }
  return state;
}

absl::Status SslTrainer::Finish() {
  torch::NoGradGuard no_grad;
  const BatchNormLayers layers = LayersOf(network_);
  network_.eval();
  projector_->eval();
  {
    const StatisticsTraining statistics(layers);
    const int64_t batches = std::min(kStatisticsBatches, steps_per_epoch_);
    for (int64_t i = 1; i <= batches && !layers.empty(); ++i) {
      // Momentum 1 / k makes the k-th running value the mean of k batches.
      for (const auto& layer : layers) {
        layer->options.momentum(1.0 / static_cast<double>(i));
      }
      FG_ASSIGN_OR_RETURN(const torch::Tensor batch, PlainBatch(ImagesOf(i)));
      network_.Features(batch);
    }
  }
  for (const auto& layer : layers) {
    layer->options.momentum(kBatchNormMomentum);
  }
  return absl::OkStatus();
}

absl::StatusOr<SslTrainer::Spreads> SslTrainer::MeasureSpread(
    int64_t images_max) {
  torch::NoGradGuard no_grad;
  const int64_t count = std::min(images_max, images_.count());
  std::vector<torch::Tensor> features, projections;
  for (int64_t begin = 0; begin < count; begin += kEmbedBatch) {
    std::vector<int64_t> images;
    for (int64_t i = begin; i < std::min(count, begin + kEmbedBatch); ++i) {
      images.push_back(i * images_.count() / count);
    }
    FG_ASSIGN_OR_RETURN(const torch::Tensor batch, PlainBatch(images));
    const torch::Tensor embedded = Embed(batch);
    features.push_back(embedded.to(torch::kCPU, torch::kFloat64));
    projections.push_back(
        projector_->forward(embedded).to(torch::kCPU, torch::kFloat64));
  }
  return Spreads{SpreadOf(torch::cat(features)),
                 SpreadOf(torch::cat(projections))};
}

}  // namespace fedgraft
