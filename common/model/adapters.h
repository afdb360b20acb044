#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/config/plan.h"
#include "common/model/parameter_layout.h"
#include "common/model/trainable_set.h"

// What a plan grafts onto a backbone beside its own tensors: low-rank and
// bottleneck adapters, and the hidden branch of the head. Torch-free, so that
// aggregator, trainer and export agree on names, shapes and start values.

namespace fedgraft {

// A weight W, as a matrix of `rows` outputs, that is used as
// W + alpha / rank B A. (Hu et al., "LoRA", 2021; A fixed: Sun et al.,
// "Improving LoRA in Privacy-preserving Federated Learning", 2024.)
struct LoraTarget {
  std::string layer;  // "layer4.1.conv1"; its weight is "<layer>.weight"
  int64_t rows = 0, columns = 0;

  std::string weight() const { return layer + ".weight"; }
  std::string a() const { return layer + ".lora_a"; }  // [rank, columns]
  std::string b() const { return layer + ".lora_b"; }  // [rows, rank]
};

// x + up(relu(down(x))) behind a block, in 1x1 convolutions.
struct BottleneckTarget {
  std::string block;  // its tensors: "<block>.adapter.{down,up}.{weight,bias}"
  int64_t channels = 0, hidden = 0;
};

// Sorted by layer. INVALID_ARGUMENT that says how to mend the plan: a glob that
// matches nothing, or nothing that can have an adapter; a rank above the
// smaller side of a weight.
// A weight can have one if it is linear or a 1x1 or 3x3 convolution that is
// not depthwise. The head has none: it is trained as a whole.
absl::StatusOr<std::vector<LoraTarget>> LoraTargets(
    const Plan& plan, const Architecture& architecture);
// From the top. INVALID_ARGUMENT as above; a reduction that leaves no channel.
absl::StatusOr<std::vector<BottleneckTarget>> BottleneckTargets(
    const Plan& plan, const Architecture& architecture);

// The fixed A of a low-rank adapter (`lora_plain`: its start), row by row:
// N(0, 1 / columns) by plan.seed and the name.
std::vector<float> LoraA(const Plan& plan, const LoraTarget& target);

// Tensors of the head: <head>.weight and .bias, and with plan.hidden_dim > 0
// also those of the second branch in W x + b + V relu(U x + c):
// <head>.hidden.weight (U), <head>.hidden.bias (c), <head>.out.weight (V).
std::vector<TensorSpec> HeadTensors(const Plan& plan,
                                    const Architecture& architecture);
// Tensors of the plan's adapters that travel; none of another strategy.
// INVALID_ARGUMENT as above, and `bn_tune` without a BatchNorm layer to tune.
absl::StatusOr<std::vector<TensorSpec>> AdapterTensors(
    const Plan& plan, const Architecture& architecture);

// Start values of an adapter's or hidden branch's tensor: those that end a
// branch (B, up, V, biases) are 0, so that the model starts as the backbone
// with a linear head. Empty: `tensor` is none of them.
std::vector<float> GraftedStart(const Plan& plan,
                                const Architecture& architecture,
                                const TensorSpec& tensor);

// True if strategy.adapter.targets is empty or a glob of it matches.
bool IsAdapterTarget(const Plan& plan, std::string_view name);

}  // namespace fedgraft
