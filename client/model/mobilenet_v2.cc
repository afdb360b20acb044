#include "client/model/network.h"

// Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
// 2018, width 1.0.

namespace fedgraft {
namespace {

namespace nn = torch::nn;

// Convolution, BatchNorm, ReLU6 as children 0, 1, 2. A plain Sequential cannot
// be a child of another: its forward is a template.
class ConvBnRelu6Impl : public nn::SequentialImpl {
 public:
  ConvBnRelu6Impl(int64_t in, int64_t out, int64_t kernel, int64_t stride,
                  int64_t groups)
      : nn::SequentialImpl(nn::Conv2d(nn::Conv2dOptions(in, out, kernel)
                                          .stride(stride)
                                          .padding(kernel / 2)
                                          .groups(groups)
                                          .bias(false)),
                           nn::BatchNorm2d(out),
                           nn::ReLU6(nn::ReLU6Options().inplace(true))) {}
  torch::Tensor forward(torch::Tensor x) {
    return nn::SequentialImpl::forward(x);
  }
};
TORCH_MODULE(ConvBnRelu6);

class InvertedResidualImpl : public nn::Module {
 public:
  InvertedResidualImpl(int64_t in, int64_t out, int64_t stride, int64_t expand)
      : residual_(stride == 1 && in == out) {
    const int64_t hidden = in * expand;
    if (expand != 1) conv_->push_back(ConvBnRelu6(in, hidden, 1, 1, 1));
    conv_->push_back(ConvBnRelu6(hidden, hidden, 3, stride, hidden));
    conv_->push_back(nn::Conv2d(nn::Conv2dOptions(hidden, out, 1).bias(false)));
    conv_->push_back(nn::BatchNorm2d(out));
    register_module("conv", conv_);
  }

  torch::Tensor forward(torch::Tensor x) {
    torch::Tensor y = conv_->forward(x);
    return residual_ ? x + y : y;
  }

 private:
  bool residual_;
  nn::Sequential conv_;
};
TORCH_MODULE(InvertedResidual);

struct Group {
  int64_t expand, out, repeat, stride;
};
constexpr Group kGroups[] = {{1, 16, 1, 1}, {6, 24, 2, 2}, {6, 32, 3, 2},
                             {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2},
                             {6, 320, 1, 1}};
constexpr int64_t kFeatureDim = 1280;

class MobileNetV2 : public Network {
 public:
  explicit MobileNetV2(int64_t num_classes) {
    nn::Sequential features;
    Append(features, ConvBnRelu6(3, 32, 3, 2, 1));
    int64_t in = 32;
    for (const Group& group : kGroups) {
      for (int64_t i = 0; i < group.repeat; ++i) {
        Append(features,
               InvertedResidual(in, group.out, i == 0 ? group.stride : 1,
                                group.expand));
        in = group.out;
      }
    }
    Append(features, ConvBnRelu6(in, kFeatureDim, 1, 1, 1));
    register_module("features", features);
    AddStage({"pool", {}, [](torch::Tensor x) {
                return torch::flatten(torch::adaptive_avg_pool2d(x, {1, 1}), 1);
              }});
    nn::Linear linear(kFeatureDim, num_classes);
    // Child 0 is torchvision's dropout: no tensors; see Network.
    register_module("classifier", nn::Sequential(nn::Identity(), linear));
    AddStage({"classifier", {"classifier."}, [linear](torch::Tensor x) mutable {
                return linear(x);
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

std::shared_ptr<Network> BuildMobileNetV2(int64_t num_classes) {
  return std::make_shared<MobileNetV2>(num_classes);
}

}  // namespace fedgraft
