#include "aggregator/rules/fed_avg.h"

#include <vector>

#include "common/numeric/update_payload.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

// Two sites with weights 1 and 0.25; updates chosen to lie on the grid.
TEST(FedAvgTest, IsTheWeightedMeanOfUpdates) {
  const RingSpec ring{32, 8};
  const std::vector<float> a = {1, -2}, b = {3, 6};
  std::vector<uint64_t> words(2, 0);
  const auto add = [&](const std::vector<float>& update, double weight) {
    const auto quantized = Quantize(ring, 4, update, weight);
    for (size_t i = 0; i < 2; ++i) words[i] += quantized->words[i];
  };
  add(a, 1);
  add(b, 0.25);
  const std::vector<float> previous = {10, 20};
  std::vector<float> next(2);
  const ShardSum sum{ring, words, WeightWord(1) + WeightWord(0.25), 2,
                     previous};
  ASSERT_TRUE(FedAvg(1).Apply(sum, absl::MakeSpan(next)).ok());
  EXPECT_FLOAT_EQ(next[0], 10 + (1 * 1 + 0.25 * 3) / 1.25);
  EXPECT_FLOAT_EQ(next[1], 20 + (1 * -2 + 0.25 * 6) / 1.25);
}

TEST(FedAvgTest, ServerLearningRateScalesTheStep) {
  const RingSpec ring{32, 0};
  const std::vector<uint64_t> words = {4};
  const std::vector<float> previous = {1};
  std::vector<float> next(1);
  const ShardSum sum{ring, words, WeightWord(1) * 2, 2, previous};
  ASSERT_TRUE(FedAvg(0.5).Apply(sum, absl::MakeSpan(next)).ok());
  EXPECT_EQ(next[0], 2);  // 1 + 0.5 · 4 / 2
}

TEST(FedAvgTest, NegativeSumsComeBackNegative) {
  const RingSpec ring{12, 2};
  const std::vector<uint64_t> words = {uint64_t{4096 - 6}};  // -1.5
  const std::vector<float> previous = {0};
  std::vector<float> next(1);
  ASSERT_TRUE(FedAvg(1)
                  .Apply({ring, words, WeightWord(1), 1, previous},
                         absl::MakeSpan(next))
                  .ok());
  EXPECT_EQ(next[0], -1.5f);
}

}  // namespace
}  // namespace fedgraft
