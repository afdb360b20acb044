#include "client/train/head_trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/status/status.h"
#include "client/train/fused_update.h"
#include "client/train/plain_training.h"
#include "common/base/check.h"

namespace fedgraft {
namespace {

constexpr double kAdamWEpsilon = 1e-8;  // torch's

}  // namespace

bool HeadTrainer::Covers(const Plan& plan) { return TrainsPlainly(plan); }

HeadTrainer::HeadTrainer(const Plan& plan, double rate, torch::Tensor weight,
                         torch::Tensor bias)
    : spec_(plan.optimizer),
      rate_(rate),
      weight_(weight.detach()),
      bias_(bias.detach()) {
  FG_CHECK(Covers(plan) && weight_.is_contiguous() && bias_.is_contiguous());
  logits_ = torch::empty({0, bias_.size(0)});
  weight_gradient_ = torch::empty_like(weight_);
  bias_gradient_ = torch::empty_like(bias_);
  for (int which : {0, 1}) {
    first_[which] = torch::zeros_like(which == 0 ? weight_ : bias_);
    second_[which] = torch::zeros_like(first_[which]);
  }
}

double HeadTrainer::Errors(const std::vector<int64_t>& labels,
                           absl::Span<const float> weights) {
  const int64_t classes = bias_.size(0);
  const float total =
      weights.empty() ? static_cast<float>(labels.size())
                      : std::accumulate(weights.begin(), weights.end(), 0.f);
  float* row = logits_.data_ptr<float>();
  double loss = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const int64_t label = labels[i];
    const float weight = weights.empty() ? 1.0f : weights[i];
    const float scale = weight / total;
    FG_CHECK(0 <= label && label < classes);
    const float largest = *std::max_element(row, row + classes);
    const float true_logit = row[label];
    float sum = 0;
    for (int64_t c = 0; c < classes; ++c) {
      row[c] = std::exp(row[c] - largest);
      sum += row[c];
    }
    loss += weight * (std::log(sum) + largest - true_logit);
    for (int64_t c = 0; c < classes; ++c) row[c] *= scale / sum;
    row[label] -= scale;
    row += classes;
  }
  return loss;
}

absl::StatusOr<double> HeadTrainer::Step(const torch::Tensor& features,
                                         const std::vector<int64_t>& labels,
                                         absl::Span<const float> weights) {
  FG_CHECK(weights.empty() || weights.size() == labels.size());
  torch::NoGradGuard no_grad;
  logits_.resize_({static_cast<int64_t>(labels.size()), bias_.size(0)});
  at::addmm_out(logits_, bias_, features, weight_.t());
  const double loss = Errors(labels, weights);
  if (!std::isfinite(loss)) {
    return absl::FailedPreconditionError(
        "training diverged: the loss is not finite; lower the learning rate");
  }
  at::mm_out(weight_gradient_, logits_.t(), features);
  at::sum_out(bias_gradient_, logits_, 0);
  ++steps_;
  Update(weight_, weight_gradient_, 0);
  Update(bias_, bias_gradient_, 1);
  return loss;
}

void HeadTrainer::Update(torch::Tensor& value, const torch::Tensor& gradient,
                         int which) {
  float* first = first_[which].data_ptr<float>();
  if (spec_.kind == OptimizerKind::kAdamW) {
    const AdamWUpdate update(rate_, spec_.beta1, spec_.beta2, kAdamWEpsilon,
                             spec_.weight_decay, steps_);
    return UpdateAdamW(update, value.numel(), gradient.data_ptr<float>(), first,
                       second_[which].data_ptr<float>(),
                       value.data_ptr<float>());
  }
  const SgdUpdate update{static_cast<float>(rate_),
                         static_cast<float>(spec_.momentum),
                         static_cast<float>(spec_.weight_decay), steps_ == 1};
  UpdateSgd(update, value.numel(), gradient.data_ptr<float>(), first,
            value.data_ptr<float>());
}

}  // namespace fedgraft
