#include "client/model/network.h"

// Huang et al., "Densely Connected Convolutional Networks", 2017: DenseNet-BC
// with growth 32, as torchvision's densenet121. Each dense layer is a stage
// that hands on its input with its own channels behind it.

namespace fedgraft {
namespace {

namespace nn = torch::nn;

constexpr int64_t kGrowth = 32;
constexpr int kLayers[] = {6, 12, 24, 16};

nn::Conv2d Conv(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  return nn::Conv2d(nn::Conv2dOptions(in, out, kernel)
                        .stride(stride)
                        .padding(kernel / 2)
                        .bias(false));
}

class DenseLayerImpl : public nn::Module {
 public:
  explicit DenseLayerImpl(int64_t in)
      : norm1_(register_module("norm1", nn::BatchNorm2d(in))),
        conv1_(register_module("conv1", Conv(in, 4 * kGrowth, 1, 1))),
        norm2_(register_module("norm2", nn::BatchNorm2d(4 * kGrowth))),
        conv2_(register_module("conv2", Conv(4 * kGrowth, kGrowth, 3, 1))) {}

  torch::Tensor forward(torch::Tensor x) {
    const torch::Tensor y = conv1_(torch::relu(norm1_(x)));
    return torch::cat({x, conv2_(torch::relu(norm2_(y)))}, 1);
  }

 private:
  nn::BatchNorm2d norm1_;
  nn::Conv2d conv1_;
  nn::BatchNorm2d norm2_;
  nn::Conv2d conv2_;
};
TORCH_MODULE(DenseLayer);

class TransitionImpl : public nn::Module {
 public:
  TransitionImpl(int64_t in, int64_t out)
      : norm_(register_module("norm", nn::BatchNorm2d(in))),
        conv_(register_module("conv", Conv(in, out, 1, 1))) {}

  torch::Tensor forward(torch::Tensor x) {
    return torch::avg_pool2d(conv_(torch::relu(norm_(x))), 2, 2);
  }

 private:
  nn::BatchNorm2d norm_;
  nn::Conv2d conv_;
};
TORCH_MODULE(Transition);

// Holds children by name; torch's Sequential and ModuleDict want a forward.
class FolderImpl : public nn::Module {};
TORCH_MODULE(Folder);

class DenseNet121 : public Network {
 public:
  explicit DenseNet121(int64_t num_classes)
      : features_(register_module("features", Folder())) {
    auto conv0 = features_->register_module("conv0", Conv(3, 64, 7, 2));
    auto norm0 = features_->register_module("norm0", nn::BatchNorm2d(64));
    AddStage({"stem",
              {"features.conv0.", "features.norm0."},
              [conv0, norm0](torch::Tensor x) mutable {
                x = torch::relu(norm0->forward(conv0->forward(x)));
                return torch::max_pool2d(x, 3, 2, 1);
              }});
    int64_t channels = 64;
    for (int block = 1; block <= 4; ++block) {
      channels = AddBlock(block, channels);
      if (block == 4) break;
      Append(*features_, "features.", "transition" + std::to_string(block),
             Transition(channels, channels / 2));
      channels /= 2;
    }
    auto norm5 = features_->register_module("norm5", nn::BatchNorm2d(channels));
    AddStage({"features.norm5",
              {"features.norm5."},
              [norm5](torch::Tensor x) mutable {
                x = torch::relu(norm5->forward(x));
                return torch::flatten(torch::adaptive_avg_pool2d(x, {1, 1}), 1);
              }});
    nn::Linear linear(channels, num_classes);
    register_module("classifier", linear);
    AddStage({"classifier", {"classifier."}, [linear](torch::Tensor x) mutable {
                return linear(x);
              }});
    SetHeadPrefix("classifier");
  }

 private:
  // Returns the channels behind it.
  int64_t AddBlock(int block, int64_t channels) {
    const std::string name = "denseblock" + std::to_string(block);
    auto folder = features_->register_module(name, Folder());
    for (int i = 1; i <= kLayers[block - 1]; ++i) {
      Append(*folder, "features." + name + ".",
             "denselayer" + std::to_string(i), DenseLayer(channels));
      channels += kGrowth;
    }
    return channels;
  }

  template <typename M>
  void Append(nn::Module& parent, const std::string& path,
              const std::string& name, M module) {
    parent.register_module(name, module);
    AddStage({path + name,
              {path + name + "."},
              [module](torch::Tensor x) mutable { return module(x); }});
  }

  Folder features_;
};

}  // namespace

std::shared_ptr<Network> BuildDenseNet121(int64_t num_classes) {
  return std::make_shared<DenseNet121>(num_classes);
}

}  // namespace fedgraft
