#include "client/model/network.h"

// Iandola et al., "SqueezeNet", 2016, version 1.1.

namespace fedgraft {
namespace {

namespace nn = torch::nn;

class FireImpl : public nn::Module {
 public:
  FireImpl(int64_t in, int64_t squeeze, int64_t expand)
      : squeeze_(register_module(
            "squeeze", nn::Conv2d(nn::Conv2dOptions(in, squeeze, 1)))),
        expand1x1_(register_module(
            "expand1x1", nn::Conv2d(nn::Conv2dOptions(squeeze, expand, 1)))),
        expand3x3_(register_module(
            "expand3x3",
            nn::Conv2d(nn::Conv2dOptions(squeeze, expand, 3).padding(1)))) {}

  torch::Tensor forward(torch::Tensor x) {
    x = torch::relu(squeeze_(x));
    return torch::cat({torch::relu(expand1x1_(x)), torch::relu(expand3x3_(x))},
                      1);
  }

 private:
  nn::Conv2d squeeze_, expand1x1_, expand3x3_;
};
TORCH_MODULE(Fire);

nn::MaxPool2d MaxPool() {
  return nn::MaxPool2d(nn::MaxPool2dOptions(3).stride(2).ceil_mode(true));
}

class SqueezeNet11 : public Network {
 public:
  explicit SqueezeNet11(int64_t num_classes) {
    nn::Sequential features;
    Append(features, nn::Conv2d(nn::Conv2dOptions(3, 64, 3).stride(2)));
    Append(features, nn::ReLU());
    Append(features, MaxPool());
    Append(features, Fire(64, 16, 64));
    Append(features, Fire(128, 16, 64));
    Append(features, MaxPool());
    Append(features, Fire(128, 32, 128));
    Append(features, Fire(256, 32, 128));
    Append(features, MaxPool());
    Append(features, Fire(256, 48, 192));
    Append(features, Fire(384, 48, 192));
    Append(features, Fire(384, 64, 256));
    Append(features, Fire(512, 64, 256));
    register_module("features", features);
    nn::Conv2d conv(nn::Conv2dOptions(512, num_classes, 1));
    // Child 0 is torchvision's dropout: no tensors; see Network.
    register_module("classifier", nn::Sequential(nn::Identity(), conv));
    AddStage({"classifier", {"classifier."}, [conv](torch::Tensor x) mutable {
                x = torch::relu(conv(x));
                return torch::flatten(torch::adaptive_avg_pool2d(x, {1, 1}), 1);
              }});
    SetHeadPrefix("classifier.1");
  }

 private:
  template <typename M>
  void Append(nn::Sequential& features, M module) {
    const std::string stage = "features." + std::to_string(features->size());
    features->push_back(module);
    AddStage({stage, {stage + "."}, [module](torch::Tensor x) mutable {
                return module->forward(x);
              }});
  }
};

}  // namespace

std::shared_ptr<Network> BuildSqueezeNet11(int64_t num_classes) {
  return std::make_shared<SqueezeNet11>(num_classes);
}

}  // namespace fedgraft
