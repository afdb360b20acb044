#include "client/model/graft.h"
#include "common/base/check.h"

namespace fedgraft {
namespace {

namespace nn = torch::nn;

nn::Conv2d Conv1x1(int64_t in, int64_t out, bool bias) {
  return nn::Conv2d(nn::Conv2dOptions(in, out, 1).bias(bias));
}

void AddToLinear(nn::LinearImpl& head, int64_t hidden_dim, Network& network) {
  auto hidden = head.register_module(
      "hidden", nn::Linear(head.options.in_features(), hidden_dim));
  auto out = head.register_module(
      "out",
      nn::Linear(nn::LinearOptions(hidden_dim, head.options.out_features())
                     .bias(false)));
  torch::NoGradGuard no_grad;
  out->weight.zero_();
  network.WrapStage(
      network.head_stage(),
      [hidden, out](const Network::StageFunction& linear, torch::Tensor x) {
        return linear(x) + out->forward(torch::relu(hidden->forward(x)));
      });
}

void AddToConvolution(std::shared_ptr<nn::Conv2dImpl> head, int64_t hidden_dim,
                      Network& network) {
  auto hidden = head->register_module(
      "hidden", Conv1x1(head->options.in_channels(), hidden_dim, true));
  auto out = head->register_module(
      "out", Conv1x1(hidden_dim, head->options.out_channels(), false));
  torch::NoGradGuard no_grad;
  out->weight.zero_();
  // The sum belongs inside the stage, before SqueezeNet's relu and pooling.
  network.WrapStage(
      network.head_stage(),
      [head, hidden, out](const Network::StageFunction&, torch::Tensor x) {
        torch::Tensor y = out->forward(torch::relu(hidden->forward(x)));
        y = torch::relu(head->forward(x) + y);
        return torch::flatten(torch::adaptive_avg_pool2d(y, {1, 1}), 1);
      });
}

}  // namespace

void AddHiddenBranch(int64_t hidden_dim, Network& network) {
  FG_CHECK(hidden_dim > 0);
  const auto modules = network.named_modules();
  const auto* found = modules.find(network.head_prefix());
  FG_CHECK(found != nullptr);
  if (auto linear = std::dynamic_pointer_cast<nn::LinearImpl>(*found)) {
    return AddToLinear(*linear, hidden_dim, network);
  }
  auto convolution = std::dynamic_pointer_cast<nn::Conv2dImpl>(*found);
  FG_CHECK(convolution != nullptr);
  AddToConvolution(std::move(convolution), hidden_dim, network);
}

}  // namespace fedgraft
