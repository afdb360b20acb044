#include "client/train/schedule.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "gtest/gtest.h"

namespace fedgraft {
namespace {

Plan PlanWith(ScheduleKind kind, int rounds, int warmup = 0) {
  Plan plan;
  plan.rounds = rounds;
  plan.optimizer.learning_rate = 0.4;
  plan.schedule.kind = kind;
  plan.schedule.warmup_rounds = warmup;
  plan.schedule.step_rounds = 2;
  plan.schedule.gamma = 0.5;
  return plan;
}

struct Case {
  const char* name;
  Plan plan;
  std::vector<double> rates;  // of rounds 1, 2, …
};

TEST(LearningRateTest, FollowsTheSchedule) {
  const Case cases[] = {
      {"constant", PlanWith(ScheduleKind::kConstant, 3), {0.4, 0.4, 0.4}},
      {"step", PlanWith(ScheduleKind::kStep, 5), {0.4, 0.4, 0.2, 0.2, 0.1}},
      {"cosine",
       PlanWith(ScheduleKind::kCosine, 4),
       {0.4, 0.3414213562, 0.2, 0.0585786438}},
      {"warm-up, constant",
       PlanWith(ScheduleKind::kConstant, 5, 3),
       {0.1, 0.2, 0.3, 0.4, 0.4}},
      {"warm-up, cosine",
       PlanWith(ScheduleKind::kCosine, 3, 1),
       {0.2, 0.4, 0.2}},
      {"warm-up longer than the run",
       PlanWith(ScheduleKind::kCosine, 2, 3),
       {0.1, 0.2}},
  };
  for (const Case& c : cases) {
    for (size_t i = 0; i < c.rates.size(); ++i) {
      EXPECT_NEAR(LearningRate(c.plan, static_cast<int>(i) + 1), c.rates[i],
                  1e-9)
          << c.name << ", round " << i + 1;
    }
  }
}

// Howard and Ruder 2018, equation 3: eta (1 + p (ratio - 1)) / ratio with
// cut = floor(T cut_frac), p = t / cut, then 1 - (t - cut) / (cut (1 / cut_frac
// - 1)); values worked out by hand for t = 1 to T.
TEST(LearningRateTest, IsUlmfitsSlantedTriangle) {
  Plan plan = PlanWith(ScheduleKind::kSlantedTriangular, 20);
  const std::pair<int, double> rates[] = {{1, 0.20625},    // p = 1/2
                                          {2, 0.4},        // the top
                                          {11, 0.20625},   // p = 1 - 9/18
                                          {20, 0.4 / 32},  // p = 0
                                          {5, 0.4 * (1 + 15.0 / 18 * 31) / 32}};
  for (const auto& [round, rate] : rates) {
    EXPECT_NEAR(LearningRate(plan, round), rate, 1e-9) << round;
  }
  // Few rounds: the first has the top; never below the lowest.
  plan.rounds = 5;
  EXPECT_NEAR(LearningRate(plan, 1), 0.4, 1e-9);
  EXPECT_NEAR(LearningRate(plan, 5), 0.4 / 32, 1e-9);
  // 0.1 of 15 rounds is 1 whole round.
  plan.rounds = 15;
  EXPECT_NEAR(LearningRate(plan, 1), 0.4, 1e-9);
  EXPECT_NEAR(LearningRate(plan, 8), 0.20625, 1e-9);
  EXPECT_NEAR(LearningRate(plan, 15), 0.4 / 32, 1e-9);
}

std::vector<int64_t> Flat(const std::vector<std::vector<int64_t>>& batches) {
  std::vector<int64_t> all;
  for (const auto& batch : batches) {
    all.insert(all.end(), batch.begin(), batch.end());
  }
  return all;
}

TEST(EpochBatchesTest, HasEachImageOnce) {
  Plan plan;
  plan.batch_size = 8;
  for (int64_t count : {1, 7, 8, 9, 16, 17, 20}) {
    std::vector<int64_t> all = Flat(EpochBatches(plan, 1, 0, count));
    std::sort(all.begin(), all.end());
    std::vector<int64_t> expected(count);
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(all, expected);
  }
}

TEST(EpochBatchesTest, JoinsALastSingleImage) {
  Plan plan;
  plan.batch_size = 8;
  const auto batches = EpochBatches(plan, 1, 0, 17);
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_EQ(batches[1].size(), 9u);
  EXPECT_EQ(EpochBatches(plan, 1, 0, 1).size(), 1u);
  EXPECT_TRUE(EpochBatches(plan, 1, 0, 0).empty());
}

TEST(EpochBatchesTest, DependsOnSeedRoundAndEpochOnly) {
  Plan plan;
  plan.seed = 1;
  Plan other = plan;
  other.seed = 2;
  const auto base = EpochBatches(plan, 1, 0, 40);
  EXPECT_EQ(base, EpochBatches(plan, 1, 0, 40));
  EXPECT_NE(base, EpochBatches(plan, 1, 1, 40));
  EXPECT_NE(base, EpochBatches(plan, 2, 0, 40));
  EXPECT_NE(base, EpochBatches(other, 1, 0, 40));
}

TEST(EpochBatchesTest, BalancedDrawsEveryClassAsOften) {
  Plan plan;
  plan.batch_size = 8;
  plan.loss.sampling = Sampling::kBalanced;
  std::vector<int64_t> labels(30, 0);
  for (int i : {3, 11}) labels[i] = 2;
  for (int i : {0, 5, 7, 20, 29}) labels[i] = 4;
  for (int epoch : {0, 1}) {
    const auto batches = EpochBatches(plan, 1, epoch, labels);
    std::map<int64_t, int> by_class;
    std::map<int64_t, int> by_image;
    for (int64_t image : Flat(batches)) {
      ++by_class[labels[image]];
      ++by_image[image];
    }
    EXPECT_EQ(by_class, (std::map<int64_t, int>{{0, 10}, {2, 10}, {4, 10}}));
    EXPECT_EQ(by_image[3], 5);
    EXPECT_EQ(by_image[5], 2);
    EXPECT_EQ(batches, EpochBatches(plan, 1, epoch, labels));
  }
  EXPECT_NE(EpochBatches(plan, 1, 0, labels), EpochBatches(plan, 1, 1, labels));
  labels.resize(29);
  EXPECT_EQ(Flat(EpochBatches(plan, 1, 0, labels)).size(), 29u);
  plan.loss.sampling = Sampling::kShuffled;
  EXPECT_EQ(EpochBatches(plan, 1, 0, labels), EpochBatches(plan, 1, 0, 29));
}

}  // namespace
}  // namespace fedgraft
