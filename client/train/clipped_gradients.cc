#include "client/train/clipped_gradients.h"

#include <algorithm>
#include <cmath>

#include "common/base/check.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

// Norms are rounded; what is below the bound by this share is so in truth.
constexpr double kMargin = 1 - 1e-5;

absl::Status Diverged() {
  return absl::FailedPreconditionError(
      "training diverged: a record's loss or gradient is not finite; lower the "
      "learning rate");
}

}  // namespace

ClippedGradients::ClippedGradients(const Options& options)
    : options_(options), parameters_(ValuesOf(options.model.parameters)) {
  Clear();
  Network& network = *options_.model.network;
  const auto modules = network.named_modules();
  const auto* head = modules.find(network.head_prefix());
  auto* linear =
      head == nullptr ? nullptr : (*head)->as<torch::nn::LinearImpl>();
  if (linear == nullptr || options_.always_by_record ||
      options_.model.boundary != network.head_stage() ||
      parameters_.size() != 2) {
    return;
  }
  for (int i = 0; i < 2; ++i) {
    if (parameters_[i].is_same(linear->weight)) weight_ = i;
    if (parameters_[i].is_same(linear->bias)) bias_ = i;
  }
  FG_CHECK(weight_ >= 0 && bias_ >= 0);
}

void ClippedGradients::Clear() {
  sums_.clear();
  for (const torch::Tensor& parameter : parameters_) {
    sums_.push_back(
        torch::zeros_like(parameter.detach(), torch::MemoryFormat::Contiguous));
  }
}

absl::StatusOr<double> ClippedGradients::Add(
    const torch::Tensor& activations, int stage,
    const std::vector<int64_t>& images, const std::vector<int64_t>& labels) {
  FG_CHECK(images.size() == labels.size());
  if (images.empty()) return 0;
  if (weight_ >= 0) {
    torch::NoGradGuard no_grad;
    Network& network = *options_.model.network;
    return AddToHead(stage < network.head_stage()
                         ? network.Run(activations, stage, network.head_stage())
                         : activations,
                     labels);
  }
  double loss = 0;
  for (size_t i = 0; i < images.size(); ++i) {
    FG_ASSIGN_OR_RETURN(
        const double one,
        AddRecord(activations.narrow(0, static_cast<int64_t>(i), 1), stage,
                  images[i]));
    loss += one;
  }
  return loss;
}

// The gradient of record i is (d_i f_i^T, d_i), d_i = softmax - target, so its
// squared norm is |d_i|^2 (1 + |f_i|^2).
absl::StatusOr<double> ClippedGradients::AddToHead(
    const torch::Tensor& features, const std::vector<int64_t>& labels) {
  const torch::Tensor& weight = parameters_[weight_];
  const torch::Tensor& bias = parameters_[bias_];
  const int64_t classes = bias.size(0);
  const torch::Tensor log_softmax =
      torch::log_softmax(torch::addmm(bias, features, weight.t()), 1);
  const double smoothing = options_.label_smoothing;
  const torch::Tensor index =
      torch::tensor(labels).to(features.device()).unsqueeze(1);
  torch::Tensor target = torch::full_like(log_softmax, smoothing / classes);
  target.scatter_add_(
      1, index, torch::full_like(index, 1 - smoothing, log_softmax.options()));
  const double loss =
      -(target * log_softmax).sum(torch::kFloat64).item<double>();
  const torch::Tensor errors = log_softmax.exp() - target;
  const torch::Tensor norms =
      (errors.square().sum(1) * (features.square().sum(1) + 1)).sqrt();
  const torch::Tensor factors =
      (options_.clip_norm * kMargin / norms.clamp_min(1e-30)).clamp_max(1);
  if (!std::isfinite(loss) || !torch::isfinite(norms).all().item<bool>()) {
    return Diverged();
  }
  const torch::Tensor clipped = errors * factors.unsqueeze(1);
  sums_[weight_].addmm_(clipped.t(), features);
  sums_[bias_].add_(clipped.sum(0));
  return loss;
}

absl::StatusOr<double> ClippedGradients::AddRecord(
    const torch::Tensor& activation, int stage, int64_t image) {
  for (torch::Tensor parameter : parameters_) parameter.mutable_grad().reset();
  const torch::Tensor loss =
      options_.loss.Sum(options_.model.Logits(activation, stage), {image});
  loss.backward();
  torch::NoGradGuard no_grad;
  double squares = 0;
  for (const torch::Tensor& parameter : parameters_) {
    if (!parameter.grad().defined()) continue;
    const double norm =
        parameter.grad().norm(2, torch::kFloat64).item<double>();
    squares += norm * norm;
  }
  const double value = loss.item<double>();
  if (!std::isfinite(value) || !std::isfinite(squares)) return Diverged();
  const double norm = std::max(std::sqrt(squares), 1e-30);
  const double factor = std::min(1.0, options_.clip_norm * kMargin / norm);
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (!parameters_[i].grad().defined()) continue;
    sums_[i].add_(parameters_[i].grad(), factor);
  }
  return value;
}

}  // namespace fedgraft
