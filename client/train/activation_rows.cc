#include "client/train/activation_rows.h"

#include <algorithm>
#include <vector>

#include "common/base/logging.h"

namespace fedgraft {
namespace {

constexpr double kHalfMax = 65504;

}  // namespace

torch::Tensor RunInBatches(
    const torch::Tensor& images, int64_t size,
    const std::function<torch::Tensor(const torch::Tensor&)>& run) {
  const int64_t count = images.size(0);
  std::vector<torch::Tensor> results;
  for (int64_t begin = 0; begin < count; begin += size) {
    const int64_t used = std::min(size, count - begin);
    torch::Tensor batch = images.narrow(0, begin, used);
    if (used < size) {
      std::vector<int64_t> shape = images.sizes().vec();
      shape[0] = size - used;
      batch = torch::cat({batch, torch::zeros(shape, images.options())});
    }
    results.push_back(run(batch).narrow(0, 0, used));
  }
  return results.size() == 1 ? results[0].contiguous() : torch::cat(results);
}

torch::Tensor RoundToHalf(const torch::Tensor& values) {
  const int64_t beyond = (values.abs() > kHalfMax).sum().item<int64_t>();
  if (beyond > 0) {
    FG_LOG_WARNING(
        "feature cache: {} of {} values are beyond +-65504 and cut; precision "
        "f32 keeps them",
        beyond, values.numel());
  }
  return values.clamp(-kHalfMax, kHalfMax)
      .to(torch::kFloat16)
      .to(torch::kFloat32);
}

}  // namespace fedgraft
