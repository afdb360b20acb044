#include "client/train/schedule.h"

#include <algorithm>
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

}  // namespace
}  // namespace fedgraft
