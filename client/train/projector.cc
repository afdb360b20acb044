#include "client/train/projector.h"

#include <string>

#include "common/base/check.h"

namespace fedgraft {

Projector::Projector(int64_t features, const std::vector<int64_t>& sizes,
                     uint64_t seed) {
  FG_CHECK(!sizes.empty());
  torch::NoGradGuard no_grad;
  torch::manual_seed(seed);
  int64_t in = features;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const std::string number = std::to_string(i);
    linear_.push_back(register_module(
        "linear" + number,
        torch::nn::Linear(torch::nn::LinearOptions(in, sizes[i]).bias(false))));
    torch::nn::init::kaiming_normal_(linear_.back()->weight, 0, torch::kFanIn,
                                     torch::kReLU);
    in = sizes[i];
    if (i + 1 == sizes.size()) break;
    norm_.push_back(
        register_module("norm" + number, torch::nn::BatchNorm1d(in)));
  }
}

torch::Tensor Projector::forward(torch::Tensor features) {
  torch::Tensor x = linear_[0](std::move(features));
  for (size_t i = 0; i < norm_.size(); ++i) {
    x = linear_[i + 1](torch::relu(norm_[i](x)));
  }
  return x;
}

}  // namespace fedgraft
