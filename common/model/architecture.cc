#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/check.h"
#include "common/config/identity.h"
#include "common/model/tensor_mismatch.h"
#include "common/model/trainable_set.h"

// The tensors of torchvision's models, written down from their constructors.

namespace fedgraft {
namespace {

using Tensors = std::map<std::string, std::vector<int64_t>>;

const std::vector<Architecture>& Known() {
  static const auto* known = new std::vector<Architecture>{
      {"densenet121", "classifier", 1024, false},
      {"mobilenet_v2", "classifier.1", 1280, false},
      {"resnet18", "fc", 512, false},
      {"resnet34", "fc", 512, false},
      {"resnet50", "fc", 2048, false},
      {"squeezenet1_1", "classifier.1", 512, true}};
  return *known;
}

void AddConvolution(const std::string& name, int64_t out, int64_t in,
                    int64_t side, Tensors& tensors) {
  tensors[name + ".weight"] = {out, in, side, side};
}

void AddBatchNorm(const std::string& name, int64_t channels, Tensors& tensors) {
  for (const char* part : {"weight", "bias", "running_mean", "running_var"}) {
    tensors[absl::StrCat(name, ".", part)] = {channels};
  }
}

// One block; returns its number of output channels.
int64_t AddResidual(const std::string& block, int64_t in, int64_t width,
                    bool is_bottleneck, bool downsamples, Tensors& tensors) {
  const int64_t out = is_bottleneck ? 4 * width : width;
  AddConvolution(block + ".conv1", width, in, is_bottleneck ? 1 : 3, tensors);
  AddBatchNorm(block + ".bn1", width, tensors);
  AddConvolution(block + ".conv2", width, width, 3, tensors);
  AddBatchNorm(block + ".bn2", width, tensors);
  if (is_bottleneck) {
    AddConvolution(block + ".conv3", out, width, 1, tensors);
    AddBatchNorm(block + ".bn3", out, tensors);
  }
  if (downsamples || in != out) {
    AddConvolution(block + ".downsample.0", out, in, 1, tensors);
    AddBatchNorm(block + ".downsample.1", out, tensors);
  }
  return out;
}

Tensors ResNet(const std::array<int, 4>& blocks, bool is_bottleneck) {
  Tensors tensors;
  AddConvolution("conv1", 64, 3, 7, tensors);
  AddBatchNorm("bn1", 64, tensors);
  int64_t channels = 64;
  for (int layer = 0; layer < 4; ++layer) {
    for (int block = 0; block < blocks[layer]; ++block) {
      channels = AddResidual(absl::StrCat("layer", layer + 1, ".", block),
                             channels, int64_t{64} << layer, is_bottleneck,
                             layer > 0 && block == 0, tensors);
    }
  }
  return tensors;
}

Tensors MobileNetV2() {
  struct Stage {
    int expansion, channels, blocks;
  };
  Tensors tensors;
  AddConvolution("features.0.0", 32, 3, 3, tensors);
  AddBatchNorm("features.0.1", 32, tensors);
  int64_t in = 32;
  int index = 1;
  for (const Stage& stage : std::initializer_list<Stage>{{1, 16, 1},
                                                         {6, 24, 2},
                                                         {6, 32, 3},
                                                         {6, 64, 4},
                                                         {6, 96, 3},
                                                         {6, 160, 3},
                                                         {6, 320, 1}}) {
    for (int block = 0; block < stage.blocks; ++block) {
      const std::string conv = absl::StrCat("features.", index++, ".conv.");
      const int64_t wide = in * stage.expansion;
      int part = 0;
      if (stage.expansion != 1) {
        AddConvolution(conv + "0.0", wide, in, 1, tensors);
        AddBatchNorm(conv + "0.1", wide, tensors);
        ++part;
      }
      AddConvolution(absl::StrCat(conv, part, ".0"), wide, 1, 3, tensors);
      AddBatchNorm(absl::StrCat(conv, part, ".1"), wide, tensors);
      AddConvolution(absl::StrCat(conv, part + 1), stage.channels, wide, 1,
                     tensors);
      AddBatchNorm(absl::StrCat(conv, part + 2), stage.channels, tensors);
      in = stage.channels;
    }
  }
  AddConvolution("features.18.0", 1280, in, 1, tensors);
  AddBatchNorm("features.18.1", 1280, tensors);
  return tensors;
}

Tensors SqueezeNet() {
  struct Fire {
    int index, in, squeeze, expand;
  };
  Tensors tensors;
  const auto add = [&tensors](const std::string& name, int64_t out, int64_t in,
                              int64_t side) {
    AddConvolution(name, out, in, side, tensors);
    tensors[name + ".bias"] = {out};
  };
  add("features.0", 64, 3, 3);
  for (const Fire& fire : std::initializer_list<Fire>{{3, 64, 16, 64},
                                                      {4, 128, 16, 64},
                                                      {6, 128, 32, 128},
                                                      {7, 256, 32, 128},
                                                      {9, 256, 48, 192},
                                                      {10, 384, 48, 192},
                                                      {11, 384, 64, 256},
                                                      {12, 512, 64, 256}}) {
    const std::string name = absl::StrCat("features.", fire.index, ".");
    add(name + "squeeze", fire.squeeze, fire.in, 1);
    add(name + "expand1x1", fire.expand, fire.squeeze, 1);
    add(name + "expand3x3", fire.expand, fire.squeeze, 3);
  }
  return tensors;
}

Tensors DenseNet121() {
  constexpr int64_t kGrowth = 32, kBottleneck = 4 * kGrowth;
  constexpr std::array<int, 4> kLayers = {6, 12, 24, 16};
  Tensors tensors;
  AddConvolution("features.conv0", 64, 3, 7, tensors);
  AddBatchNorm("features.norm0", 64, tensors);
  int64_t channels = 64;
  for (int block = 1; block <= 4; ++block) {
    for (int i = 1; i <= kLayers[block - 1]; ++i) {
      const std::string layer =
          absl::StrCat("features.denseblock", block, ".denselayer", i, ".");
      AddBatchNorm(layer + "norm1", channels, tensors);
      AddConvolution(layer + "conv1", kBottleneck, channels, 1, tensors);
      AddBatchNorm(layer + "norm2", kBottleneck, tensors);
      AddConvolution(layer + "conv2", kGrowth, kBottleneck, 3, tensors);
      channels += kGrowth;
    }
    if (block == 4) break;
    const std::string transition =
        absl::StrCat("features.transition", block, ".");
    AddBatchNorm(transition + "norm", channels, tensors);
    AddConvolution(transition + "conv", channels / 2, channels, 1, tensors);
    channels /= 2;
  }
  AddBatchNorm("features.norm5", channels, tensors);
  return tensors;
}

}  // namespace

absl::StatusOr<Architecture> FindArchitecture(std::string_view name) {
  std::vector<std::string> names;
  for (const Architecture& architecture : Known()) {
    if (architecture.name == name) return architecture;
    names.push_back(architecture.name);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown architecture \"", std::string(name),
                   "\"; known are ", absl::StrJoin(names, ", ")));
}

absl::StatusOr<Architecture> ArchitectureOf(const Plan& plan) {
  if (HasBackbone(plan)) return FindArchitecture(plan.architecture);
  return Architecture{plan.architecture, "head", plan.feature_dim, false};
}

std::map<std::string, std::vector<int64_t>> BackboneTensors(
    const Architecture& architecture) {
  if (architecture.name == kIdentity) return {};
  if (architecture.name == "resnet18") return ResNet({2, 2, 2, 2}, false);
  if (architecture.name == "resnet34") return ResNet({3, 4, 6, 3}, false);
  if (architecture.name == "resnet50") return ResNet({3, 4, 6, 3}, true);
  if (architecture.name == "mobilenet_v2") return MobileNetV2();
  if (architecture.name == "densenet121") return DenseNet121();
  FG_CHECK(architecture.name == "squeezenet1_1");
  return SqueezeNet();
}

absl::Status CheckBackbone(const Architecture& architecture,
                           const SafetensorsFile& backbone) {
  const Tensors expected = BackboneTensors(architecture);
  TensorMismatch mismatch;
  for (const auto& [name, shape] : expected) {
    const auto found = backbone.tensors().find(name);
    if (found == backbone.tensors().end()) {
      mismatch.AddMissing(name);
    } else if (found->second.shape != shape ||
               found->second.dtype == DType::kI64) {
      mismatch.AddMisshapen(name, absl::StrCat("floats ", ShapeText(shape)),
                            found->second);
    }
  }
  for (const auto& [name, view] : backbone.tensors()) {
    if (expected.count(name) == 0 &&
        !absl::StartsWith(name, architecture.head_prefix + ".") &&
        !absl::EndsWith(name, ".num_batches_tracked")) {
      mismatch.AddUnexpected(name);
    }
  }
  return mismatch.ToStatus(
      absl::StrCat("the backbone file is not a ", architecture.name));
}

}  // namespace fedgraft
