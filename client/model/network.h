#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace fedgraft {

// A classification network as a chain of stages; the last is the head, the one
// before it ends in the pooled (SqueezeNet: spatial) penultimate features.
//
// Parameter and buffer names, shapes and evaluation results are torchvision's.
// One difference in training: the dropout of torchvision's classifiers is not
// applied, so that a plan describes its regularisation fully.
//
// The chain can be run in parts: stages before the first trainable tensor give
// the same activations in every epoch and are computed once per image.
//
// Invariants: 1. every named parameter and buffer belongs to exactly one
// stage; 2. the head is the last stage and holds parameters.
// Not thread-safe. REQUIRES: owned by a shared_ptr, as all torch modules.
class Network : public torch::nn::Module {
 public:
  using StageFunction = std::function<torch::Tensor(torch::Tensor)>;
  struct Stage {
    std::string name;
    // Names of tensors in this stage start with one of these (empty: none).
    std::vector<std::string> prefixes;
    StageFunction run;
  };

  int stage_count() const { return static_cast<int>(stages_.size()); }
  int head_stage() const { return stage_count() - 1; }
  const std::string& stage_name(int stage) const { return stages_[stage].name; }
  // Stage of a parameter or buffer; REQUIRES: the network has it. A tensor
  // grafted onto a module (client/model/graft.h) is of the module's stage.
  int StageOf(std::string_view tensor) const;

  // Stages [begin, end) of `x`: images [n, 3, h, w] if begin is 0, else the
  // activations before `begin`. Throws c10::Error (callers are facades).
  torch::Tensor Run(torch::Tensor x, int begin, int end);
  torch::Tensor Features(torch::Tensor images) {
    return Run(std::move(images), 0, head_stage());
  }
  torch::Tensor Head(torch::Tensor features) {
    return Run(std::move(features), head_stage(), stage_count());
  }
  // Logits [n, num_classes].
  torch::Tensor forward(torch::Tensor images) {
    return Run(std::move(images), 0, stage_count());
  }

  // From now on a stage does what `wrap` does, which gets what it did before.
  using Wrap =
      std::function<torch::Tensor(const StageFunction& inner, torch::Tensor x)>;
  void WrapStage(int stage, Wrap wrap);

  // "fc", "classifier.1".
  const std::string& head_prefix() const { return head_prefix_; }

 protected:
  void AddStage(Stage stage) { stages_.push_back(std::move(stage)); }
  void SetHeadPrefix(std::string prefix) { head_prefix_ = std::move(prefix); }

 private:
  std::vector<Stage> stages_;
  std::string head_prefix_;
};

// resnet18, resnet34, resnet50, mobilenet_v2, densenet121 or squeezenet1_1,
// with uninitialised-by-us (torch default) values. INVALID_ARGUMENT: another
// name, or fewer than 1 class.
absl::StatusOr<std::shared_ptr<Network>> BuildModel(
    std::string_view architecture, int64_t num_classes);

// No backbone: feature vectors [n, feature_dim] go straight into a linear head
// named "head", the only stage. INVALID_ARGUMENT: a size below 1.
absl::StatusOr<std::shared_ptr<Network>> BuildIdentity(int64_t feature_dim,
                                                       int64_t num_classes);

// Start values for training from scratch, after torchvision: Kaiming normal
// (fan out) convolutions, unit BatchNorm, small normal heads. Deterministic by
// `seed`.
void InitializeFromScratch(Network& network, uint64_t seed);

// Families, each in its own file; BuildModel's list.
std::shared_ptr<Network> BuildResNet(const std::vector<int>& blocks,
                                     bool bottleneck, int64_t num_classes);
std::shared_ptr<Network> BuildDenseNet121(int64_t num_classes);
std::shared_ptr<Network> BuildMobileNetV2(int64_t num_classes);
std::shared_ptr<Network> BuildSqueezeNet11(int64_t num_classes);

}  // namespace fedgraft
