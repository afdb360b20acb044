#include <memory>
#include <vector>

#include "aggregator/rules/krum.h"
#include "aggregator/rules/median.h"
#include "aggregator/rules/trimmed_mean.h"
#include "gtest/gtest.h"
#include "tests/rules/rule_bench.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using testing::HasCode;
using testing::IsError;
using testing::IsOk;
using testing::PlanOf;
using testing::RuleBench;

// Seven updates, two of them far off; expected values from numpy.
const std::vector<std::vector<double>> kUpdates = {
    {0.001, 0.299, -0.274, -0.891},   {-0.455, -0.992, 0.06, 1.34},
    {-0.492, -0.62, 0.49, 0.357},     {0.105, -0.93, -0.029, 0.695},
    {-1.344, -0.458, -1.901, -1.29},  {4.158, 5.765, 4.733, 6.271},
    {-8.843, -9.187, -11.517, -9.539}};
const std::vector<double> kMeanWithoutTwo = {-0.437, -0.5402, -0.3308, 0.0422};

std::vector<absl::Span<const double>> First(size_t count) {
  return {kUpdates.begin(), kUpdates.begin() + static_cast<ptrdiff_t>(count)};
}

struct Applied {
  std::vector<float> next = std::vector<float>(4);
  std::vector<uint64_t> kept;
};

Applied Apply(const RobustRule& rule,
              const std::vector<absl::Span<const double>>& updates,
              const std::vector<float>& previous = {0, 0, 0, 0}) {
  Applied applied;
  applied.kept.assign(updates.size(), 0);
  EXPECT_THAT(rule.Apply({updates, previous}, absl::MakeSpan(applied.next),
                         absl::MakeSpan(applied.kept)),
              IsOk());
  return applied;
}

void ExpectNear(const std::vector<float>& actual,
                const std::vector<double>& expected) {
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(actual[i], expected[i], 1e-6) << i;
  }
}

TEST(MedianTest, IsTheMiddleOfAnOddNumber) {
  ExpectNear(Apply(Median(1), First(7)).next, {-0.455, -0.62, -0.029, 0.357});
}

TEST(MedianTest, IsTheMeanOfTheTwoInTheMiddleOfAnEvenNumber) {
  ExpectNear(Apply(Median(1), First(6)).next, {-0.227, -0.539, 0.0155, 0.526});
}

TEST(MedianTest, ServerLearningRateScalesTheStep) {
  ExpectNear(Apply(Median(0.5), First(7), {1, 1, 1, 1}).next,
             {0.7725, 0.69, 0.9855, 1.1785});
}

TEST(MedianTest, CountsWhereAnUpdateWasInTheMiddle) {
  EXPECT_EQ(Apply(Median(1), First(7)).kept,
            (std::vector<uint64_t>{0, 1, 2, 1, 0, 0, 0}));
}

TEST(TrimmedMeanTest, CutsAtBothEnds) {
  ExpectNear(Apply(TrimmedMean(1, 0.2), First(7)).next, kMeanWithoutTwo);
  ExpectNear(
      Apply(TrimmedMean(1, 0.3), First(7)).next,
      {-0.31533333333333335, -0.6693333333333333, -0.081, 0.05366666666666664});
}

TEST(TrimmedMeanTest, TheOutermostHaveNoPart) {
  const auto kept = Apply(TrimmedMean(1, 0.2), First(7)).kept;
  EXPECT_EQ(kept, (std::vector<uint64_t>{4, 4, 4, 4, 4, 0, 0}));
}

DistanceMatrix Distances(size_t count) {
  DistanceMatrix distances(count, RingSpec{64, 40}, 16);
  distances.Add(First(count));
  return distances;
}

TEST(KrumTest, SelectsTheLowestScore) {
  const auto selected = Krum("krum", 1, 2, 1).Select(Distances(7));
  ASSERT_THAT(selected, IsOk());
  EXPECT_EQ(*selected, std::vector<size_t>{2});
}

TEST(KrumTest, MultiKrumSelectsAllButTheHostileOrAsManyAsThePlanSays) {
  const auto most = Krum("multi_krum", 1, 2, 0).Select(Distances(7));
  ASSERT_THAT(most, IsOk());
  EXPECT_EQ(*most, (std::vector<size_t>{0, 1, 2, 3, 4}));
  const auto three = Krum("multi_krum", 1, 2, 3).Select(Distances(7));
  ASSERT_THAT(three, IsOk());
  EXPECT_EQ(*three, (std::vector<size_t>{1, 2, 3}));
}

TEST(KrumTest, EqualScoresGoByCanonicalOrder) {
  const std::vector<double> same(4, 1);
  DistanceMatrix distances(5, RingSpec{64, 40}, 16);
  distances.Add(std::vector<absl::Span<const double>>(5, same));
  EXPECT_EQ(*Krum("multi_krum", 1, 1, 2).Select(distances),
            (std::vector<size_t>{0, 1}));
}

TEST(KrumTest, NeedsTwiceTheHostileAndThree) {
  EXPECT_THAT(Krum("krum", 1, 2, 1).Select(Distances(6)),
              IsError(absl::StatusCode::kInvalidArgument, "at least 7"));
}

TEST(KrumTest, AveragesTheSelected) {
  ExpectNear(Apply(Krum("multi_krum", 1, 2, 0), First(5)).next,
             kMeanWithoutTwo);
}

// Through the ring, by site.
TEST(KrumTest, InfluenceNamesTheSitesThatWereUsed) {
  Plan plan = PlanOf("multi_krum", 7);
  plan.update.range = 16;
  plan.rule.byzantine_max = 2;
  RuleBench bench(plan, 4);
  for (size_t k = 0; k < kUpdates.size(); ++k) {
    bench.Add(std::string(1, static_cast<char>('a' + k)),
              {kUpdates[k].begin(), kUpdates[k].end()}, 0.25);
  }
  const auto result = bench.Reduce(std::vector<float>(4, 0));
  ASSERT_THAT(result, IsOk());
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(result->next[i], kMeanWithoutTwo[i], 1e-5);
  }
  EXPECT_NEAR(result->influence.at({"a"}), 1.4, 1e-12);
  EXPECT_EQ(result->influence.at({"f"}), 0);
  EXPECT_EQ(result->influence.at({"g"}), 0);
}

TEST(GroupsTest, AreWeightedMeansOfTheirMembers) {
  Plan plan = PlanOf("median", 6);
  plan.rule.groups = 3;
  RuleBench bench(plan, 1);
  // Any two honest sites make a mean of 1; the hostile one spoils its group.
  for (const char* site : {"a", "b", "c", "d", "e"}) bench.Add(site, {1}, 0.5);
  bench.Add("f", {-100}, 0.03125);
  const auto result = bench.Reduce({0});
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->next[0], 1);
}

TEST(GroupsTest, NeedASiteEach) {
  Plan plan = PlanOf("median", 6);
  plan.rule.groups = 3;
  RuleBench bench(plan, 1);
  bench.Add("a", {1});
  bench.Add("b", {1});
  EXPECT_THAT(bench.Reduce({0}), HasCode(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace fedgraft
