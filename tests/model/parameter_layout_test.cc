#include "common/model/parameter_layout.h"

#include <cmath>
#include <limits>
#include <random>
#include <string>

#include "common/base/bytes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;

std::vector<TensorSpec> BatchNormTensors() {
  return {{"fc.weight", {2, 3}},
          {"bn.running_var", {4}, TensorKind::kBatchNormVar},
          {"bn.running_mean", {4}, TensorKind::kBatchNormMean},
          {"scalar", {}}};
}

TEST(ParameterLayoutTest, SortsByNameAndGivesOffsets) {
  const auto layout = ParameterLayout::Create(BatchNormTensors());
  ASSERT_TRUE(layout.ok()) << layout.status();
  ASSERT_EQ(layout->tensors().size(), 4u);
  EXPECT_EQ(layout->tensors()[0].name, "bn.running_mean");
  EXPECT_EQ(layout->tensors()[1].name, "bn.running_var");
  EXPECT_EQ(layout->Offset(0), 0);
  EXPECT_EQ(layout->Offset(1), 4);
  EXPECT_EQ(layout->Offset(2), 8);
  EXPECT_EQ(layout->Offset(3), 14);
  EXPECT_EQ(layout->Count(), 15);
  EXPECT_EQ(*layout->Find("scalar"), 3u);
  EXPECT_TRUE(absl::IsNotFound(layout->Find("fc").status()));
  EXPECT_TRUE(absl::IsNotFound(layout->Find("zzz").status()));
}

// SHA-256 of the canonical encoding, computed by Python's hashlib.
TEST(ParameterLayoutTest, DigestIsThatOfTheCanonicalEncoding) {
  const auto layout = ParameterLayout::Create(
      {{"fc.weight", {2, 3}},
       {"bn.running_mean", {4}, TensorKind::kBatchNormMean}});
  ASSERT_TRUE(layout.ok());
  EXPECT_EQ(layout->digest().Hex(),
            "58f317c36a87db81b043788299c3449006e7cfc7cd64485fa973226613c14582");
}

TEST(ParameterLayoutTest, DigestTellsNamesShapesAndKindsApart) {
  const auto digest = [](TensorSpec tensor) {
    return ParameterLayout::Create({std::move(tensor)})->digest();
  };
  const Digest base = digest({"a", {2, 3}});
  EXPECT_EQ(base, digest({"a", {2, 3}}));
  EXPECT_NE(base, digest({"b", {2, 3}}));
  EXPECT_NE(base, digest({"a", {3, 2}}));
  EXPECT_NE(base, digest({"a", {6}}));
  EXPECT_NE(base, digest({"a", {2, 3}, TensorKind::kBatchNormMean}));
}

TEST(ParameterLayoutTest, RefusesWhatIsNotALayout) {
  const int64_t huge = std::numeric_limits<int64_t>::max() / 4;
  const TensorKind mean = TensorKind::kBatchNormMean;
  const TensorKind variance = TensorKind::kBatchNormVar;
  struct Case {
    std::vector<TensorSpec> tensors;
    std::string message;
  };
  const Case cases[] = {
      {{}, "at least one"},
      {{{"", {1}}}, "no name"},
      {{{"a", {1}}, {"b", {1}}, {"a", {2}}}, "twice"},
      {{{"a", {2, -1}}}, "negative"},
      {{{"a", {huge, 2}}}, "too many"},
      {{{"a", {1 << 30, 1 << 30, 1 << 30}}}, "too many"},
      {{{"a", {huge / 4}}, {"b", {huge / 4}}, {"c", {huge / 4}}}, "too many"},
      {{{"bn.running_var", {4}, variance}}, "bn.running_mean"},
      {{{"bn.running_var", {4}, variance}, {"bn.running_mean", {5}, mean}},
       "same shape"},
      {{{"bn.running_var", {4}, variance}, {"b.running_mean", {4}, mean}},
       "bn.running_mean"},
      {{{"bn.running_var", {4}, variance}, {"bn.running_mean", {4}}},
       "bn.running_mean"}};
  for (const Case& bad : cases) {
    const auto layout = ParameterLayout::Create(bad.tensors);
    ASSERT_TRUE(absl::IsInvalidArgument(layout.status())) << bad.message;
    EXPECT_THAT(std::string(layout.status().message()), HasSubstr(bad.message));
  }
}

TEST(MomentsTest, RoundTripLeavesWeightsAloneAndStatisticsWithinRounding) {
  const auto layout = ParameterLayout::Create(BatchNormTensors());
  ASSERT_TRUE(layout.ok());
  ParameterVector values = {1, -2, 0, 3, 0.5, 2, 7, 1e-3, 1, 2, 3, 4, 5, 6, 9};
  const ParameterVector before = values;
  ToMoments(*layout, values);
  EXPECT_FLOAT_EQ(values[4], 1.5f);    // 0.5 + 1²
  EXPECT_FLOAT_EQ(values[5], 6.0f);    // 2 + 2²
  EXPECT_FLOAT_EQ(values[7], 9.001f);  // 1e-3 + 3²
  FromMoments(*layout, values);
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_NEAR(values[i], before[i], 1e-6) << i;
  }
}

TEST(MomentsTest, NegativeVarianceBecomesZero) {
  const auto layout = ParameterLayout::Create(BatchNormTensors());
  ASSERT_TRUE(layout.ok());
  ParameterVector values(15, 0.0f);
  values[0] = 2;     // mean
  values[4] = 3.9f;  // second moment below 2²
  FromMoments(*layout, values);
  EXPECT_EQ(values[4], 0.0f);
}

// Why statistics travel as moments: averaging them over sites gives mean and
// variance of the pooled records, between-site term included.
TEST(MomentsTest, WeightedMeanOfMomentsIsThePooledStatistic) {
  const auto layout = ParameterLayout::Create(
      {{"bn.running_mean", {1}, TensorKind::kBatchNormMean},
       {"bn.running_var", {1}, TensorKind::kBatchNormVar}});
  ASSERT_TRUE(layout.ok());
  std::mt19937 random(5);
  std::normal_distribution<double> normal;
  double pooled_sum = 0, pooled_squares = 0, pooled_n = 0;
  ParameterVector average = {0, 0};
  for (int site = 0; site < 3; ++site) {
    const int n = 100 * (site + 1);
    double sum = 0, squares = 0;
    for (int i = 0; i < n; ++i) {
      const double x = normal(random) * (site + 1) + 3 * site;
      sum += x;
      squares += x * x;
    }
    const double mean = sum / n;
    ParameterVector values = {static_cast<float>(mean),
                              static_cast<float>(squares / n - mean * mean)};
    ToMoments(*layout, values);
    for (int k = 0; k < 2; ++k) average[k] += values[k] * n / 600.0f;
    pooled_sum += sum;
    pooled_squares += squares;
    pooled_n += n;
  }
  FromMoments(*layout, average);
  const double mean = pooled_sum / pooled_n;
  EXPECT_NEAR(average[0], mean, 1e-4);
  EXPECT_NEAR(average[1], pooled_squares / pooled_n - mean * mean, 1e-3);
}

}  // namespace
}  // namespace fedgraft
