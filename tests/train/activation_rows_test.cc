#include "client/train/activation_rows.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "tests/train/fixture.h"

namespace fedgraft {
namespace {

TEST(RunInBatchesTest, FillsUpTheLastBatchAndDropsIt) {
  std::vector<int64_t> sizes;
  const torch::Tensor images = torch::arange(21).reshape({7, 3});
  const torch::Tensor result =
      RunInBatches(images, 4, [&](const torch::Tensor& batch) {
        sizes.push_back(batch.size(0));
        return batch * 2;
      });
  EXPECT_EQ(sizes, (std::vector<int64_t>{4, 4}));
  EXPECT_TRUE(torch::equal(result, images * 2));
}

// What makes cold, warm and partly warm caches give the same bytes.
TEST(RunInBatchesTest, AnImageGivesTheSameBytesInAnyCompany) {
  for (const char* architecture : {"resnet18", "mobilenet_v2"}) {
    SCOPED_TRACE(architecture);
    auto network = testing::SeededNetwork(architecture, 2);
    torch::NoGradGuard no_grad;
    for (torch::Tensor& parameter : network->parameters()) {
      if (parameter.dim() != 4) continue;  // as the learner has it
      parameter.set_data(
          parameter.contiguous(torch::MemoryFormat::ChannelsLast));
    }
    torch::manual_seed(1);
    const torch::Tensor images = torch::randn({37, 3, 64, 64});
    const auto run = [&](const torch::Tensor& batch) {
      return network->Features(batch);
    };
    const torch::Tensor all = RunInBatches(images, 16, run);
    for (int64_t begin : {0, 1, 17, 36}) {
      for (int64_t count : {1, 5, 20}) {
        const int64_t used = std::min<int64_t>(count, 37 - begin);
        const torch::Tensor part =
            RunInBatches(images.narrow(0, begin, used), 16, run);
        EXPECT_TRUE(torch::equal(part, all.narrow(0, begin, used)))
            << begin << " + " << used;
      }
    }
  }
}

TEST(RoundToHalfTest, IsWithinTheErrorOfHalfPrecision) {
  torch::manual_seed(2);
  const torch::Tensor values = torch::cat(
      {torch::randn({10000}), torch::randn({10000}) * 1000,
       torch::randn({10000}) * 1e-6, torch::tensor({0.0, 65504.0, -65504.0})});
  const torch::Tensor rounded = RoundToHalf(values);
  for (int64_t i = 0; i < values.numel(); ++i) {
    const double x = values[i].item<float>(), y = rounded[i].item<float>();
    const double bound = std::max(std::abs(x) * 0x1p-11, 0x1p-25);
    ASSERT_LE(std::abs(x - y), bound) << x;
  }
  EXPECT_FALSE(torch::equal(values, rounded));
  EXPECT_TRUE(torch::equal(RoundToHalf(rounded), rounded));
}

TEST(RoundToHalfTest, CutsWhatIsBeyondTheRange) {
  const torch::Tensor rounded =
      RoundToHalf(torch::tensor({1e6f, -1e6f, 65520.0f}));
  EXPECT_TRUE(
      torch::equal(rounded, torch::tensor({65504.0f, -65504.0f, 65504.0f})));
}

}  // namespace
}  // namespace fedgraft
