#pragma once

#include <torch/torch.h>

#include <functional>

namespace fedgraft {

// `run` on `images` [n, ...] in batches of exactly `size`: the last one is
// filled up with zeros, whose results are dropped. What an image gives then
// does not depend on how many others come with it. `run` keeps the first
// dimension.
torch::Tensor RunInBatches(
    const torch::Tensor& images, int64_t size,
    const std::function<torch::Tensor(const torch::Tensor&)>& run);

// The nearest F16 value of each value, as float. Values beyond F16's range are
// cut to +-65504, with a warning that counts them.
torch::Tensor RoundToHalf(const torch::Tensor& values);

}  // namespace fedgraft
