#include "client/train/private_round_trainer.h"

#include <algorithm>

#include "client/train/parameter_groups.h"
#include "common/base/status_macros.h"
#include "common/privacy/release_cost.h"

namespace fedgraft {
namespace {

// Activations in memory at a time; a draw may be as large as the site.
constexpr size_t kRecordsAtATime = 256;

}  // namespace

PrivateRoundTrainer::PrivateRoundTrainer(const Options& options)
    : options_(options),
      rate_(SamplingRate(options.plan,
                         static_cast<uint64_t>(options.data.count()))),
      parameters_(ValuesOf(options.model.parameters)),
      optimizer_(
          MakeOptimizer(options.plan, options.round, options.model.parameters)),
      gradients_({options.model, options.loss,
                  options.plan.loss.label_smoothing,
                  options.plan.differential_privacy.record_clip_norm}),
      noise_(options.random) {}

absl::StatusOr<double> PrivateRoundTrainer::Run(
    const ProgressSink& progress) && {
  const Plan& plan = options_.plan;
  const int64_t steps =
      StepsPerRound(plan, static_cast<uint64_t>(options_.data.count()));
  const int64_t steps_per_epoch = steps / std::max(1, plan.local_epochs);
  double loss = 0;
  int64_t drawn = 0;
  for (int64_t step = 0; step < steps; ++step) {
    FG_RETURN_IF_ERROR(progress(
        static_cast<double>(step) / static_cast<double>(steps), "train"));
    if (step % steps_per_epoch == 0) loss = drawn = 0;
    const uint64_t run_epoch =
        static_cast<uint64_t>(options_.round - 1) * plan.local_epochs +
        static_cast<uint64_t>(step / steps_per_epoch);
    FG_RETURN_IF_ERROR(Step(run_epoch, loss, drawn));
    for (const auto& regularizer : options_.regularizers) {
      regularizer->AddGradient();
    }
    optimizer_->step();
  }
  return drawn > 0 ? loss / static_cast<double>(drawn) : 0;
}

std::vector<int64_t> PrivateRoundTrainer::Draw() {
  std::vector<int64_t> images;
  for (int64_t i = 0; i < options_.data.count(); ++i) {
    if (noise_.Chance(rate_)) images.push_back(i);
  }
  return images;
}

absl::Status PrivateRoundTrainer::Step(uint64_t run_epoch, double& loss,
                                       int64_t& drawn) {
  const Plan& plan = options_.plan;
  const ActivationStore& data = options_.data;
  const std::vector<int64_t> images = Draw();
  gradients_.Clear();
  for (size_t begin = 0; begin < images.size(); begin += kRecordsAtATime) {
    const size_t end = std::min(images.size(), begin + kRecordsAtATime);
    const std::vector<int64_t> some(images.begin() + begin,
                                    images.begin() + end);
    std::vector<int64_t> labels;
    for (const int64_t image : some) labels.push_back(data.labels()[image]);
    FG_ASSIGN_OR_RETURN(
        const torch::Tensor activations,
        data.TrainingBatch(some, plan.augmentation, plan.seed, run_epoch));
    FG_ASSIGN_OR_RETURN(
        const double sum,
        gradients_.Add(activations, data.stage(), some, labels));
    loss += sum;
  }
  drawn += static_cast<int64_t>(images.size());
  const DifferentialPrivacySpec& privacy = plan.differential_privacy;
  const double sigma = privacy.noise_multiplier * privacy.record_clip_norm;
  const double expected = rate_ * static_cast<double>(data.count());
  for (size_t i = 0; i < parameters_.size(); ++i) {
    torch::Tensor sum = gradients_.sums()[i].to(torch::kCPU).contiguous();
    noise_.AddTo(
        absl::MakeSpan(sum.data_ptr<float>(), static_cast<size_t>(sum.numel())),
        sigma);
    torch::Tensor parameter = parameters_[i];
    parameter.mutable_grad() = (sum / expected).to(parameter.device());
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
