#pragma once

#include "absl/status/status.h"
#include "client/model/network.h"
#include "common/config/plan.h"

namespace fedgraft {

// Adds to a network what the plan grafts onto it (common/model/adapters.h):
// the hidden branch of the head, and low-rank or bottleneck adapters. The new
// tensors hang on torchvision's modules under the names of the trainable set;
// they do nothing until training has moved those that start at 0. A fixed A of
// `lora` is a buffer.
//
// A low-rank weight is put together whenever its stage runs, and the layer has
// its own weight again afterwards: gradients reach B (and A), and whoever looks
// at the layer between runs sees the backbone's W.
//
// REQUIRES: called once, before gradients are asked for and before the network
// is moved to a device. INVALID_ARGUMENT: an adapter that does not fit, as in
// TrainableLayout; the network is then unchanged.
absl::Status GraftOnto(const Plan& plan, Network& network);

// The head as W x + b + V relu(U x + c), `hidden_dim` wide; REQUIRES: above 0.
// A convolutional head (SqueezeNet) has 1x1 convolutions for U and V, in front
// of its activation and pooling.
void AddHiddenBranch(int64_t hidden_dim, Network& network);

}  // namespace fedgraft
