#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace fedgraft {

// The layers on top of a backbone's features whose output a self-supervised
// loss looks at; thrown away afterwards. Of each size but the last a linear
// layer without bias, BatchNorm and ReLU; of the last a linear layer without
// bias. [n, features] -> [n, sizes.back()].
class Projector : public torch::nn::Module {
 public:
  // REQUIRES: features and every size at least 1, and one size. Weights are
  // drawn (Kaiming normal, fan in) from torch's generator seeded by `seed`.
  Projector(int64_t features, const std::vector<int64_t>& sizes, uint64_t seed);

  torch::Tensor forward(torch::Tensor features);

 private:
  std::vector<torch::nn::Linear> linear_;
  std::vector<torch::nn::BatchNorm1d> norm_;  // one less
};

}  // namespace fedgraft
