#include "client/train/fused_optimizer.h"

#include <map>
#include <utility>

#include "client/train/fused_update.h"

namespace fedgraft {
namespace {

using Groups = std::vector<torch::optim::OptimizerParamGroup>;

// Values in one piece of memory, in whatever order.
bool IsDense(const torch::Tensor& tensor) {
  return tensor.is_non_overlapping_and_dense();
}

bool CanFuse(const Groups& groups) {
  for (const auto& group : groups) {
    for (const torch::Tensor& value : group.params()) {
      if (!value.device().is_cpu() || value.scalar_type() != torch::kFloat32 ||
          !IsDense(value)) {
        return false;
      }
    }
  }
  return true;
}

// The gradient with its values in the order of the parameter's.
torch::Tensor LikeValue(const torch::Tensor& gradient,
                        const torch::Tensor& value) {
  if (gradient.strides() == value.strides()) return gradient;
  return torch::empty_like(value).copy_(gradient);
}

class FusedSgd : public torch::optim::SGD {
 public:
  using torch::optim::SGD::SGD;
  torch::Tensor step(LossClosure closure = nullptr) override {
    const torch::Tensor loss = closure ? closure() : torch::Tensor();
    torch::NoGradGuard no_grad;
    for (auto& group : param_groups()) {
      const auto& options =
          static_cast<const torch::optim::SGDOptions&>(group.options());
      for (torch::Tensor& value : group.params()) {
        if (!value.grad().defined()) continue;
        const torch::Tensor gradient = LikeValue(value.grad(), value);
        torch::Tensor& velocity = velocities_[value.unsafeGetTensorImpl()];
        const SgdUpdate update{static_cast<float>(options.lr()),
                               static_cast<float>(options.momentum()),
                               static_cast<float>(options.weight_decay()),
                               !velocity.defined()};
        if (update.momentum != 0 && update.first) {
          velocity = torch::empty_like(value);
        }
        UpdateSgd(update, value.numel(), gradient.data_ptr<float>(),
                  velocity.defined() ? velocity.data_ptr<float>() : nullptr,
                  value.data_ptr<float>());
      }
    }
    return loss;
  }

 private:
  std::map<const void*, torch::Tensor> velocities_;
};

class FusedAdamW : public torch::optim::AdamW {
 public:
  using torch::optim::AdamW::AdamW;
  torch::Tensor step(LossClosure closure = nullptr) override {
    const torch::Tensor loss = closure ? closure() : torch::Tensor();
    torch::NoGradGuard no_grad;
    for (auto& group : param_groups()) {
      const auto& options =
          static_cast<const torch::optim::AdamWOptions&>(group.options());
      for (torch::Tensor& value : group.params()) {
        if (!value.grad().defined()) continue;
        const torch::Tensor gradient = LikeValue(value.grad(), value);
        Moments& moments = moments_[value.unsafeGetTensorImpl()];
        if (moments.steps == 0) {
          moments.mean = torch::zeros_like(value);
          moments.square = torch::zeros_like(value);
        }
        const AdamWUpdate update(options.lr(), std::get<0>(options.betas()),
                                 std::get<1>(options.betas()), options.eps(),
                                 options.weight_decay(), ++moments.steps);
        UpdateAdamW(update, value.numel(), gradient.data_ptr<float>(),
                    moments.mean.data_ptr<float>(),
                    moments.square.data_ptr<float>(), value.data_ptr<float>());
      }
    }
    return loss;
  }

 private:
  struct Moments {
    int64_t steps = 0;
    torch::Tensor mean, square;
  };
  std::map<const void*, Moments> moments_;
};

}  // namespace

std::unique_ptr<torch::optim::Optimizer> MakeSgd(
    Groups groups, torch::optim::SGDOptions defaults) {
  if (defaults.nesterov() || defaults.dampening() != 0 || !CanFuse(groups)) {
    return std::make_unique<torch::optim::SGD>(std::move(groups), defaults);
  }
  return std::make_unique<FusedSgd>(std::move(groups), defaults);
}

std::unique_ptr<torch::optim::Optimizer> MakeAdamW(
    Groups groups, torch::optim::AdamWOptions defaults) {
  if (defaults.amsgrad() || !CanFuse(groups)) {
    return std::make_unique<torch::optim::AdamW>(std::move(groups), defaults);
  }
  return std::make_unique<FusedAdamW>(std::move(groups), defaults);
}

}  // namespace fedgraft
