#include "common/statistics/start_statistics.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kTerms = 16;

Plan PlanWith(bool counts, bool fisher) {
  Plan plan;
  plan.classes = {"normal", "lesion", "other"};
  plan.loss.class_weights =
      counts ? ClassWeights::kFederated : ClassWeights::kLocal;
  plan.regularizers.ewc_lambda = 1;
  plan.regularizers.ewc_federated = fisher;
  return plan;
}

ParameterLayout Layout() {
  return *ParameterLayout::Create(
      {{"bn.running_mean", {4}, TensorKind::kBatchNormMean},
       {"bn.running_var", {4}, TensorKind::kBatchNormVar},
       {"bn.weight", {4}, TensorKind::kWeight},
       {"fc.weight", {3, 2}, TensorKind::kWeight}});
}

TEST(StatisticsLayoutTest, AsksForWhatThePlanUsesAndNothingElse) {
  const StatisticsLayout none(PlanWith(false, false), Layout());
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.count(), 0);
  EXPECT_EQ(AskedStatistics(PlanWith(false, false)), "");

  const StatisticsLayout counts(PlanWith(true, false), Layout());
  EXPECT_EQ(counts.count(), 1 + 3);
  EXPECT_EQ(counts.Find(StatisticKind::kFisher), nullptr);
  EXPECT_EQ(AskedStatistics(PlanWith(true, false)), "class_counts");

  // BatchNorm's statistics have no Fisher information.
  const StatisticsLayout both(PlanWith(true, true), Layout());
  EXPECT_EQ(both.count(), 1 + 3 + 4 + 6);
  EXPECT_EQ(both.Find(StatisticKind::kFisher)->begin, 4);
  EXPECT_EQ(both.Find(StatisticKind::kFisher)->count, 10);
  EXPECT_EQ(FisherLayout(Layout())->Count(), 10);
  EXPECT_EQ(AskedStatistics(PlanWith(true, true)), "class_counts, fisher");
}

TEST(PackStatisticsTest, CountsAreExactAndTheRestIsOffByHalfAStepAtMost) {
  const StatisticsLayout layout(PlanWith(true, true), Layout());
  const auto& counts = *layout.Find(StatisticKind::kClassCounts);
  const auto& fisher = *layout.Find(StatisticKind::kFisher);
  std::vector<double> sums = {1e9 + 1, 1e9, 1, 0};
  for (int i = 0; i < 10; ++i) sums.push_back(std::exp(i - 5.3));
  const auto words = PackStatistics(layout, kTerms, sums);
  ASSERT_THAT(words, IsOk());
  EXPECT_EQ((*words)[0], 1'000'000'001u);
  EXPECT_THAT(UnpackStatistics(counts, *words), ElementsAre(1e9, 1, 0));
  const std::vector<double> back = UnpackStatistics(fisher, *words);
  for (int i = 0; i < 10; ++i) {
    EXPECT_NEAR(back[i], sums[4 + i], std::ldexp(1, -29));
  }
}

TEST(PackStatisticsTest, RefusesWhatDoesNotFitByName) {
  const StatisticsLayout layout(PlanWith(false, true), Layout());
  const std::vector<double> good(11, 1);
  ASSERT_THAT(PackStatistics(layout, kTerms, good), IsOk());
  const auto error = [&](size_t index, double value) {
    std::vector<double> bad = good;
    bad[index] = value;
    return std::string(PackStatistics(layout, kTerms, bad).status().message());
  };
  EXPECT_THAT(error(3, std::nan("")), HasSubstr("fisher[2] is nan"));
  EXPECT_THAT(error(1, std::numeric_limits<double>::infinity()),
              HasSubstr("fisher[0] is inf"));
  // 2^35 / (2 * 16) is the most that 16 sites may have each.
  EXPECT_THAT(error(10, std::ldexp(1.0, 30) * 1.001),
              HasSubstr("fisher[9] is 1.07"));
  EXPECT_THAT(error(10, std::ldexp(1.0, 30)), IsEmpty());
  EXPECT_THAT(error(0, 1e19), HasSubstr("records[0]"));
  EXPECT_THAT(PackStatistics(layout, kTerms, std::vector<double>(10))
                  .status()
                  .message(),
              HasSubstr("expected 11 sums, got 10"));
}

absl::Status CheckOf(const StatisticsLayout& layout,
                     const std::vector<uint64_t>& words, size_t piece) {
  StatisticsCheck check(layout);
  for (size_t begin = 0; begin < words.size(); begin += piece) {
    check.Add(static_cast<int64_t>(begin),
              absl::MakeConstSpan(words).subspan(begin, piece));
  }
  return check.Finish();
}

TEST(StatisticsCheckTest, WantsRecordsCountsThatAddUpAndNothingNegative) {
  const StatisticsLayout layout(PlanWith(true, true), Layout());
  std::vector<uint64_t> words = {7, 4, 0, 3};
  words.resize(static_cast<size_t>(layout.count()), 5);
  const struct {
    size_t index;
    uint64_t value;
    const char* error;
  } cases[] = {
      {0, 0, "expected a positive number of records, got 0"},
      {0, ~uint64_t{0}, "expected a positive number of records, got -1"},
      {0, 8, "counts that add up to the 8 records, got 7"},
      {2, 1, "counts that add up to the 7 records, got 8"},
      {3, ~uint64_t{3}, "class_counts[2]: expected 0 or more"},
      // Whose sum would be that of the records again, modulo 2^64.
      {2, uint64_t{1} << 62, "class_counts[1]: expected at most the 7 records"},
      {13, ~uint64_t{0}, "fisher[9]: expected 0 or more"},
  };
  for (const size_t piece : {size_t{1}, size_t{3}, words.size()}) {
    EXPECT_THAT(CheckOf(layout, words, piece), IsOk());
    for (const auto& one : cases) {
      std::vector<uint64_t> bad = words;
      bad[one.index] = one.value;
      EXPECT_THAT(CheckOf(layout, bad, piece).message(), HasSubstr(one.error));
    }
  }
}

}  // namespace
}  // namespace fedgraft
