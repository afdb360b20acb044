#include "common/model/blocks.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "absl/strings/str_cat.h"

namespace fedgraft {
namespace {

using Blocks = std::vector<Block>;

// All from the stem upwards.

Blocks ResNetBlocks(const std::array<int, 4>& counts, bool is_bottleneck) {
  Blocks blocks = {{"stem", {"conv1.", "bn1."}, 0}};
  for (int layer = 0; layer < 4; ++layer) {
    const int64_t width = int64_t{64} << layer;
    for (int block = 0; block < counts[layer]; ++block) {
      const std::string name = absl::StrCat("layer", layer + 1, ".", block);
      blocks.push_back({name, {name + "."}, is_bottleneck ? 4 * width : width});
    }
  }
  return blocks;
}

Blocks NumberedBlocks(
    std::initializer_list<std::pair<int, int64_t>> index_and_channels) {
  Blocks blocks;
  for (const auto& [index, channels] : index_and_channels) {
    const std::string name = absl::StrCat("features.", index);
    blocks.push_back({name, {name + "."}, channels});
  }
  return blocks;
}

Blocks DenseNetBlocks() {
  constexpr std::array<int, 4> kLayers = {6, 12, 24, 16};
  constexpr std::array<int64_t, 4> kChannels = {256, 512, 1024, 1024};
  Blocks blocks = {{"stem", {"features.conv0.", "features.norm0."}, 0}};
  for (int dense = 0; dense < 4; ++dense) {
    for (int layer = 1; layer <= kLayers[dense]; ++layer) {
      const std::string name =
          absl::StrCat("features.denseblock", dense + 1, ".denselayer", layer);
      blocks.push_back(
          {name, {name + "."}, layer == kLayers[dense] ? kChannels[dense] : 0});
    }
    if (dense == 3) break;
    const std::string name = absl::StrCat("features.transition", dense + 1);
    blocks.push_back({name, {name + "."}, 0});
  }
  blocks.back().prefixes.push_back("features.norm5.");
  return blocks;
}

Blocks FromStem(std::string_view name) {
  if (name == "resnet18") return ResNetBlocks({2, 2, 2, 2}, false);
  if (name == "resnet34") return ResNetBlocks({3, 4, 6, 3}, false);
  if (name == "resnet50") return ResNetBlocks({3, 4, 6, 3}, true);
  if (name == "densenet121") return DenseNetBlocks();
  if (name == "mobilenet_v2") {
    return NumberedBlocks({{0, 0},
                           {1, 16},
                           {2, 24},
                           {3, 24},
                           {4, 32},
                           {5, 32},
                           {6, 32},
                           {7, 64},
                           {8, 64},
                           {9, 64},
                           {10, 64},
                           {11, 96},
                           {12, 96},
                           {13, 96},
                           {14, 160},
                           {15, 160},
                           {16, 160},
                           {17, 320},
                           {18, 0}});
  }
  if (name == "squeezenet1_1") {
    return NumberedBlocks({{0, 0},
                           {3, 128},
                           {4, 128},
                           {6, 256},
                           {7, 256},
                           {9, 384},
                           {10, 384},
                           {11, 512},
                           {12, 512}});
  }
  return {};
}

}  // namespace

bool Block::Owns(std::string_view tensor) const {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [tensor](const std::string& prefix) {
                       return tensor.substr(0, prefix.size()) == prefix;
                     });
}

std::vector<Block> BlocksFromTop(const Architecture& architecture) {
  Blocks blocks = FromStem(architecture.name);
  std::reverse(blocks.begin(), blocks.end());
  return blocks;
}

}  // namespace fedgraft
