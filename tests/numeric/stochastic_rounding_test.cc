#include <cmath>
#include <random>
#include <vector>

#include "common/numeric/ring_codec.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

constexpr size_t kDraws = 400'000;
const int kWidths[] = {8, 12, 16, 20, 24, 32, 64};

QuantizeResult Draw(const RingSpec& spec, const std::vector<float>& values,
                    RoundingDraw draw, double scale = 1) {
  auto result = QuantizeStochastically(spec, 2, values, scale, draw);
  EXPECT_TRUE(result.ok()) << result.status();
  return *std::move(result);
}

// A mean of kDraws draws is off by more than six standard deviations once in
// 5e8; a seed is fixed, so this passes always or never.
TEST(StochasticRoundingTest, IsRightOnAverageAndNoWiderThanItsBound) {
  for (const int bits : kWidths) {
    for (const float value : {0.03f, 0.25f, 0.5f, 0.9f, -0.2f, -3.7f, 5.75f}) {
      // A step of 1; wide words take the way of large terms.
      const RingSpec spec{bits, 0};
      const auto result =
          Draw(spec, std::vector<float>(kDraws, value), {uint64_t(bits), 0});
      double sum = 0, squares = 0;
      for (const uint64_t word : result.words) {
        const double error = Dequantize(spec, word) - value;
        ASSERT_LT(std::abs(error), 1.0);
        sum += error;
        squares += error * error;
      }
      const double p = value - std::floor(value);
      const double deviation = std::sqrt(p * (1 - p) / kDraws);
      EXPECT_LT(std::abs(sum / kDraws), 6 * deviation) << bits << " " << value;
      EXPECT_LE(squares / kDraws, 0.25) << bits << " " << value;
      EXPECT_NEAR(squares / kDraws, p * (1 - p), 0.005);
      EXPECT_NEAR(result.squared_error, squares, 1e-6 * squares);
    }
  }
}

TEST(StochasticRoundingTest, NeighboursAreIndependent) {
  const RingSpec spec{16, 0};
  const auto words = Draw(spec, std::vector<float>(kDraws, 0.5f), {9, 0}).words;
  size_t equal = 0;
  for (size_t i = 1; i < words.size(); ++i) equal += words[i] == words[i - 1];
  // Six standard deviations of a fair coin.
  EXPECT_NEAR(static_cast<double>(equal), kDraws / 2.0,
              6 * std::sqrt(kDraws / 4.0));
}

TEST(StochasticRoundingTest, ValuesOnTheGridStay) {
  for (const int bits : kWidths) {
    const RingSpec spec{bits, 2};
    const std::vector<float> values = {0, 0.25f, -0.5f, 3.75f, -3.75f};
    EXPECT_EQ(Draw(spec, values, {3, 0}).words,
              Quantize(spec, 2, values, 1.0)->words);
  }
}

TEST(StochasticRoundingTest, SeedAndIndexDecideAndSlicesDoNotShow) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(5000);
  for (float& value : values) value = normal(random);
  for (const int bits : {8, 64}) {
    const RingSpec spec{bits, 4};
    const auto whole = Draw(spec, values, {77, 0}).words;
    EXPECT_EQ(Draw(spec, values, {77, 0}).words, whole);
    EXPECT_NE(Draw(spec, values, {78, 0}).words, whole);
    std::vector<uint64_t> joined;
    for (size_t i = 0; i < values.size(); i += 1111) {
      const std::vector<float> slice(
          values.begin() + static_cast<ptrdiff_t>(i),
          values.begin() +
              static_cast<ptrdiff_t>(std::min(values.size(), i + 1111)));
      const auto part = Draw(spec, slice, {77, i}).words;
      joined.insert(joined.end(), part.begin(), part.end());
    }
    EXPECT_EQ(joined, whole);
  }
}

TEST(StochasticRoundingTest, SaturationAndNonFiniteValuesAsEver) {
  const RingSpec spec{8, 0};
  const auto result = Draw(spec, {1e9f, -1e9f, 1.0f}, {1, 0});
  EXPECT_EQ(result.saturated, 2u);
  EXPECT_EQ(result.words, (std::vector<uint64_t>{63, 256 - 63, 1}));
  EXPECT_TRUE(absl::IsInvalidArgument(
      QuantizeStochastically(spec, 2, {1.0f, NAN}, 1.0, {}).status()));
}

// Rounding a mean to nearest loses what lies below half a step for good.
TEST(StochasticRoundingTest, SmallValuesSurviveInTheSumOfManySites) {
  const RingSpec spec{16, 0};
  double nearest = 0, stochastic = 0;
  constexpr int kSites = 2000;
  for (int site = 0; site < kSites; ++site) {
    nearest += Dequantize(spec, Quantize(spec, 2, {0.3f}, 1.0)->words[0]);
    stochastic += Dequantize(
        spec, Draw(spec, {0.3f}, {static_cast<uint64_t>(site), 0}).words[0]);
  }
  EXPECT_EQ(nearest, 0);
  EXPECT_NEAR(stochastic / kSites, 0.3, 6 * std::sqrt(0.21 / kSites));
}

}  // namespace
}  // namespace fedgraft
