#include "common/shift/cusum.h"

#include <random>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using testing::IsError;

// Average run lengths of a two-sided chart with k = .5 (published): 163 at
// h = 4, 477 at h = 5; a run's length is nearly exponential.
TEST(CusumTest, ComputesTheAlarmProbabilityOfPublishedThresholds) {
  EXPECT_NEAR(CusumAlarmProbability(4, 50, 0.5), 1 - std::exp(-50 / 163.0),
              0.03);
  EXPECT_NEAR(CusumAlarmProbability(5, 100, 0.5), 1 - std::exp(-100 / 477.0),
              0.02);
  EXPECT_LT(CusumAlarmProbability(8, 50), CusumAlarmProbability(7, 50));
}

TEST(CusumTest, SolvesTheThresholdOfARun) {
  const auto h = CusumThreshold(0.05, 20, 50);
  ASSERT_TRUE(h.ok());
  const double per_chart = 1 - std::pow(0.95, 1 / 20.0);
  EXPECT_NEAR(CusumAlarmProbability(*h, 50), per_chart, 1e-6);
  EXPECT_THAT(CusumThreshold(0, 1, 1).status(),
              IsError(absl::StatusCode::kInvalidArgument, "rate"));
}

struct Outcome {
  int alarms = 0;  // before the onset
  int found = 0;   // of the other runs
  int found_in_time = 0;
};
// `charts` per run over 50 values with a constant offset each; at `onset` the
// first moves by `change`.
Outcome Simulate(int runs, int charts, int onset, double change, int in_time,
                 double threshold) {
  Outcome outcome;
  for (int run = 0; run < runs; ++run) {
    std::mt19937_64 random(run);
    std::normal_distribution<double> normal;
    bool early = false, found = false, timely = false;
    for (int chart = 0; chart < charts; ++chart) {
      Cusum cusum(threshold);
      const double offset = 3 * normal(random);
      for (int t = 0; t < 50; ++t) {
        const bool moved = chart == 0 && t >= onset;
        if (!cusum.Add(offset + normal(random) + (moved ? change : 0))) {
          continue;
        }
        if (!moved) {
          early = true;
        } else {
          found = true;
          timely = t < onset + in_time;
        }
      }
    }
    outcome.alarms += early;
    outcome.found += !early && found;
    outcome.found_in_time += timely;
  }
  return outcome;
}

// 5 % of runs of 20 charts alarm: of 400, at most 36 with probability .999.
TEST(CusumTest, KeepsTheStatedFalseAlarmRateOfARun) {
  const double h = *CusumThreshold(0.05, 20, 50);
  EXPECT_LE(Simulate(400, 20, 50, 0, 0, h).alarms, 36);
  EXPECT_GE(Simulate(400, 20, 50, 0, 0, h).alarms, 6);
}

TEST(CusumTest, FindsAChangeSoon) {
  const double h = *CusumThreshold(0.05, 15, 50);  // five sites, three tests
  EXPECT_GE(Simulate(400, 1, 20, 2, 8, h).found_in_time, 310);
  EXPECT_GE(Simulate(200, 1, 20, 4, 4, h).found_in_time, 190);
  EXPECT_GE(Simulate(200, 1, 20, -4, 4, h).found_in_time, 190);
}

TEST(CusumTest, StaysUpUntilAcknowledgedAndThenLearnsAnew) {
  Cusum cusum(5);
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal;
  for (int t = 0; t < 20; ++t) EXPECT_FALSE(cusum.Add(normal(random)));
  int alarms = 0;
  for (int t = 0; t < 20; ++t) alarms += cusum.Add(6 + normal(random));
  EXPECT_EQ(alarms, 1);
  EXPECT_TRUE(cusum.alarmed());
  cusum.Acknowledge();
  for (int t = 0; t < 30; ++t) EXPECT_FALSE(cusum.Add(6 + normal(random)));
}

// The chain taken value by value to the end.
TEST(CusumTest, ThresholdsOfLongRunsAreThoseOfEveryStep) {
  EXPECT_NEAR(*CusumThreshold(0.05, 15, 300), 6.963348146, 1e-7);
  EXPECT_NEAR(*CusumThreshold(0.05, 15, 3000), 8.514277336, 1e-7);
  EXPECT_NEAR(*CusumSideThreshold(0.005, 20000), 9.064315087, 1e-6);
}

TEST(CusumTest, JudgesByTheDeviationItIsGiven) {
  Cusum narrow(5, 0.1), wide(5, 1);
  for (int t = 0; t < 10; ++t) {
    EXPECT_FALSE(narrow.Add(1));
    EXPECT_FALSE(wide.Add(1));
  }
  // Cut: far out is as far as kStepMax, twice in a row is an alarm.
  EXPECT_FALSE(narrow.Add(2));
  EXPECT_EQ(narrow.high(), Cusum::kStepMax - Cusum::kSlack);
  EXPECT_FALSE(narrow.Add(20));
  EXPECT_TRUE(narrow.Add(20));
  EXPECT_FALSE(wide.Add(2));
  EXPECT_NEAR(wide.high(), std::sqrt(10.0 / 11) - Cusum::kSlack, 1e-12);
}

}  // namespace
}  // namespace fedgraft
