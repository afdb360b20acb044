#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/digest.h"
#include "common/config/plan.h"

namespace fedgraft {

// What a model's JSON card (`<model>.json`) says about how to use it. Cards of
// exports hold more; only these keys are read.
struct ModelCard {
  std::string architecture;
  std::vector<std::string> classes;  // label 0 first
  PreprocessingSpec preprocessing;
  Digest sha256;        // of the safetensors file
  int feature_dim = 0;  // architecture `identity`
  // What stands in the model beside torchvision's modules.
  int hidden_dim = 0;  // of the head's second branch; 0: a linear head
  std::optional<AdapterSpec> bottleneck = std::nullopt;
  // Shares of the classes that the model learned; empty: not known.
  std::vector<double> training_priors = {};
};

// INVALID_ARGUMENT naming `name`, the key, what was expected and what came.
absl::StatusOr<ModelCard> ParseModelCard(std::string_view json,
                                         std::string_view name);

// A card's entry "preprocessing", as JSON.
std::string PreprocessingJson(const PreprocessingSpec& spec);

// Facts that only a pretrained backbone's card has.
struct PretrainFacts {
  std::string start;  // "scratch", or the SHA-256 of the backbone it began at
  int epochs = 0;
  uint64_t seed = 0;
  uint64_t train_images = 0;
  std::map<std::string, double> metrics;  // on the validation split
};
std::string PretrainCard(const ModelCard& card, const PretrainFacts& facts);

}  // namespace fedgraft
