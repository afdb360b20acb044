#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/model/trainable_set.h"

namespace fedgraft {

// A piece of a backbone that strategy.unfreeze_blocks counts, and behind which
// a bottleneck adapter may stand.
struct Block {
  std::string name;  // torchvision's module: "layer4.1", "features.17"
  // Its tensors' names start with one of these.
  std::vector<std::string> prefixes;
  // Of its output; 0: no place for an adapter.
  int64_t channels = 0;

  bool Owns(std::string_view tensor) const;
};

// From the top (the head's side) to the stem; together they own every tensor
// of the backbone, each once.
//   resnet*        layer4.1, layer4.0, layer3.1, ... layer1.0, stem
//   mobilenet_v2   features.18, features.17, ... features.0
//   squeezenet1_1  features.12, 11, 10, 9, 7, 6, 4, 3, 0 (pools own nothing)
//   densenet121    features.denseblock4.denselayer16 (with features.norm5), ...
//                  features.denseblock4.denselayer1, features.transition3, ...
//                  stem: 62 blocks
// Adapters: behind residual, inverted residual and fire modules, and behind the
// last layer of a dense block. None for an unknown architecture.
std::vector<Block> BlocksFromTop(const Architecture& architecture);

}  // namespace fedgraft
