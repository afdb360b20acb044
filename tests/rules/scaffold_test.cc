#include "aggregator/rules/scaffold.h"

#include <string>
#include <vector>

#include "common/model/control_variates.h"
#include "gtest/gtest.h"
#include "tests/rules/rule_bench.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using testing::HasCode;
using testing::IsOk;
using testing::PlanOf;
using testing::RuleBench;

// A control variate, then its parameter.
ParameterLayout OneParameter() {
  return *AddControlVariates(
      *ParameterLayout::Create({{"w", {1}, TensorKind::kWeight}}));
}

Plan ScaffoldPlan() {
  Plan plan = PlanOf("scaffold", 4);
  plan.update.word_bits = 64;
  plan.update.weighting = Weighting::kUniform;
  return plan;
}

// Four sites over three rounds, two of which one or two miss. The mean over all
// four of what each has changed is what the server's has to be.
TEST(ScaffoldTest, TheServersControlVariateIsTheMeanOfAllSites) {
  RuleBench bench(ScaffoldPlan(), OneParameter());
  const std::vector<std::vector<double>> changes = {
      {0.5, -0.25, 1, 0.125}, {0.25, 0, -1, 0}, {0, 2, 0.5, 0.5}};
  const std::vector<std::vector<bool>> there = {{true, true, true, true},
                                                {true, false, true, false},
                                                {false, true, true, true}};
  std::vector<float> model = {0, 3};
  double total = 0;
  for (size_t round = 0; round < changes.size(); ++round) {
    bench.Clear();
    double moved = 0, sites = 0;
    for (size_t k = 0; k < 4; ++k) {
      if (!there[round][k]) continue;
      const auto change = static_cast<float>(changes[round][k]);
      bench.Add(std::string(1, static_cast<char>('a' + k)),
                {change, 4 * change});
      total += change;
      moved += 4 * change;
      ++sites;
    }
    const float before = model[1];
    const auto result = bench.Reduce(model);
    ASSERT_THAT(result, IsOk());
    model = result->next;
    EXPECT_FLOAT_EQ(model[0], static_cast<float>(total / 4)) << round;
    EXPECT_FLOAT_EQ(model[1], static_cast<float>(before + moved / sites));
  }
}

TEST(ScaffoldTest, ASiteMoreThanExpectedBringsAControlVariateOfZero) {
  RuleBench bench(ScaffoldPlan(), OneParameter());
  bench.SetSites({3, 4});
  bench.Add("d", {0.5f, 1});
  const auto result = bench.Reduce({2, 0});
  ASSERT_THAT(result, IsOk());
  // Of three sites 2, so 6 in all, and 0.5 of the fourth.
  EXPECT_FLOAT_EQ(result->next[0], 6.5f / 4);
  EXPECT_FLOAT_EQ(result->next[1], 1);
}

TEST(ScaffoldTest, TheServersRateMovesParametersAlone) {
  Plan plan = ScaffoldPlan();
  plan.rule.server_learning_rate = 0.5;
  RuleBench bench(plan, OneParameter());
  for (const char* site : {"a", "b", "c", "d"}) bench.Add(site, {1, 1});
  const auto result = bench.Reduce({0, 0});
  ASSERT_THAT(result, IsOk());
  EXPECT_FLOAT_EQ(result->next[0], 1);
  EXPECT_FLOAT_EQ(result->next[1], 0.5f);
}

TEST(ScaffoldTest, RefusesMoreContributionsThanTheRunHasSites) {
  RuleBench bench(ScaffoldPlan(), OneParameter());
  bench.SetSites({1, 1});
  bench.Add("a", {0.5f, 1});
  bench.Add("b", {0.5f, 1});
  EXPECT_THAT(bench.Reduce({0, 0}),
              HasCode(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace fedgraft
