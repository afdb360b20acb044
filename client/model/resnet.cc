#include "client/model/network.h"

// He et al., "Deep Residual Learning for Image Recognition", 2015, with
// torchvision's v1.5 placement of the stride (on the 3x3 of a bottleneck).

namespace fedgraft {
namespace {

namespace nn = torch::nn;

nn::Conv2d Conv(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  return nn::Conv2d(nn::Conv2dOptions(in, out, kernel)
                        .stride(stride)
                        .padding(kernel / 2)
                        .bias(false));
}

class BlockImpl : public nn::Module {
 public:
  BlockImpl(int64_t in, int64_t width, int64_t stride, bool bottleneck)
      : bottleneck_(bottleneck) {
    const int64_t out = bottleneck ? width * 4 : width;
    conv1_ = register_module("conv1", bottleneck ? Conv(in, width, 1, 1)
                                                 : Conv(in, width, 3, stride));
    bn1_ = register_module("bn1", nn::BatchNorm2d(width));
    conv2_ = register_module("conv2",
                             Conv(width, width, 3, bottleneck ? stride : 1));
    bn2_ = register_module("bn2", nn::BatchNorm2d(width));
    if (bottleneck) {
      conv3_ = register_module("conv3", Conv(width, out, 1, 1));
      bn3_ = register_module("bn3", nn::BatchNorm2d(out));
    }
    if (stride != 1 || in != out) {
      downsample_ = register_module(
          "downsample",
          nn::Sequential(Conv(in, out, 1, stride), nn::BatchNorm2d(out)));
    }
  }

  torch::Tensor forward(torch::Tensor x) {
    // In place where no gradient needs the old value.
    torch::Tensor y = bn1_(conv1_(x)).relu_();
    y = bn2_(conv2_(y));
    if (bottleneck_) y = bn3_(conv3_(y.relu_()));
    return y.add_(downsample_ ? downsample_->forward(x) : x).relu_();
  }

 private:
  bool bottleneck_;
  nn::Conv2d conv1_{nullptr}, conv2_{nullptr}, conv3_{nullptr};
  nn::BatchNorm2d bn1_{nullptr}, bn2_{nullptr}, bn3_{nullptr};
  nn::Sequential downsample_{nullptr};
};
TORCH_MODULE(Block);

class ResNet : public Network {
 public:
  ResNet(const std::vector<int>& blocks, bool bottleneck, int64_t num_classes) {
    nn::Conv2d conv1(
        nn::Conv2dOptions(3, 64, 7).stride(2).padding(3).bias(false));
    register_module("conv1", conv1);
    nn::BatchNorm2d bn1(64);
    register_module("bn1", bn1);
    AddStage(
        {"stem", {"conv1.", "bn1."}, [conv1, bn1](torch::Tensor x) mutable {
           return torch::max_pool2d(bn1(conv1(x)).relu_(), 3, 2, 1);
         }});
    int64_t in = 64;
    for (size_t i = 0; i < blocks.size(); ++i) {
      const int64_t width = 64 << i;
      nn::Sequential layer;
      const std::string name = "layer" + std::to_string(i + 1);
      for (int k = 0; k < blocks[i]; ++k) {
        Block block(in, width, i > 0 && k == 0 ? 2 : 1, bottleneck);
        in = bottleneck ? width * 4 : width;
        layer->push_back(block);
        const std::string stage = name + "." + std::to_string(k);
        AddStage({stage, {stage + "."}, [block](torch::Tensor x) mutable {
                    return block(x);
                  }});
      }
      register_module(name, layer);
    }
    AddStage({"pool", {}, [](torch::Tensor x) {
                return torch::flatten(torch::adaptive_avg_pool2d(x, {1, 1}), 1);
              }});
    nn::Linear fc(in, num_classes);
    register_module("fc", fc);
    AddStage({"fc", {"fc."}, [fc](torch::Tensor x) mutable { return fc(x); }});
    SetHeadPrefix("fc");
  }
};

}  // namespace

std::shared_ptr<Network> BuildResNet(const std::vector<int>& blocks,
                                     bool bottleneck, int64_t num_classes) {
  return std::make_shared<ResNet>(blocks, bottleneck, num_classes);
}

}  // namespace fedgraft
