#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/rules/rule_bench.h"
#include "tests/support/status_matchers.h"

// Two rounds of each server optimiser against traces of the project's reference
// set (computed in numpy).

namespace fedgraft {
namespace {

using testing::IsOk;
using testing::PlanOf;
using testing::RuleBench;

constexpr double kTolerance = 1e-6;  // float32 values around 1

struct Trace {
  std::string rule;
  double server_learning_rate;
  std::vector<std::vector<double>> models;
};

const Trace kTraces[] = {
    {"fed_avg", 1, {{1.1, -2.2, 0.55}, {1.05, -2.1, 0.75}}},
    {"fed_avgm", 1, {{1.1, -2.2, 0.55}, {1.14, -2.28, 0.795}}},
    {"fed_adagrad",
     0.1,
     {{1.099009900990099, -2.099502487562189, 0.5980392156862745},
      {1.0546849954476598, -2.0549802375671935, 0.6945851491345358}}},
    {"fed_adam",
     0.1,
     {{1.0909090909090908, -2.0952380952380953, 0.5833333333333333},
      {1.1238701599356276, -2.1296155618260872, 0.6967095844756013}}},
    {"fed_yogi",
     0.1,
     {{1.0909090909090908, -2.0952380952380953, 0.5833333333333333},
      {1.1237488969977971, -2.1294836740356873, 0.6966777765262963}}},
};

class ServerOptimizerTest : public ::testing::TestWithParam<Trace> {};

TEST_P(ServerOptimizerTest, FollowsTheReferenceTrace) {
  const Trace& trace = GetParam();
  Plan plan = PlanOf(trace.rule, 2);
  plan.update.word_bits = 64;
  plan.rule.server_learning_rate = trace.server_learning_rate;
  const std::vector<float> deltas[] = {{0.1f, -0.2f, 0.05f},
                                       {-0.05f, 0.1f, 0.2f}};
  std::vector<float> model = {1, -2, 0.5f};
  Bytes state;
  for (size_t round = 0; round < 2; ++round) {
    RuleBench bench(plan, model.size());
    // Two sites of different weight with the same update.
    bench.Add("a", deltas[round], 1);
    bench.Add("b", deltas[round], 0.25);
    auto result = bench.Reduce(model, state);
    ASSERT_THAT(result, IsOk());
    model = result->next;
    state = result->state;
    for (size_t i = 0; i < model.size(); ++i) {
      EXPECT_NEAR(model[i], trace.models[round][i], kTolerance)
          << "round " << round << ", value " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, ServerOptimizerTest,
                         ::testing::ValuesIn(kTraces),
                         [](const auto& info) { return info.param.rule; });

// v of FedYogi shrinks by a fixed share of Δ² where FedAdam's decays.
TEST(FedYogiTest, SecondMomentDoesNotForgetWithoutUpdates) {
  std::vector<float> model = {0};
  const auto moved_by_second = [&](const char* rule) {
    Plan plan = PlanOf(rule, 1);
    plan.rule.beta1 = 0;
    Bytes state;
    float last = 0;
    for (const float delta : {1.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.01f}) {
      RuleBench bench(plan, 1);
      bench.Add("a", {delta});
      const auto result = bench.Reduce(model, state);
      state = result->state;
      last = result->next[0];
    }
    return last;
  };
  EXPECT_GT(moved_by_second("fed_adam"), moved_by_second("fed_yogi"));
}

}  // namespace
}  // namespace fedgraft
