#include "aggregator/rules/fed_nova.h"

#include <string>
#include <vector>

#include "common/numeric/fed_nova.h"
#include "gtest/gtest.h"
#include "tests/rules/rule_bench.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using testing::HasCode;
using testing::IsOk;
using testing::PlanOf;
using testing::RuleBench;

// The project's reference set (computed in numpy): three sites of 100, 300 and
// 50 images that took 5, 20 and 8 steps.
const std::vector<std::vector<float>> kDeltas = {
    {0.5f, -0.1f}, {1.2f, 0.4f}, {-0.3f, 0.2f}};
constexpr double kSteps[] = {5, 20, 8};
constexpr double kImages[] = {100, 300, 50};
constexpr double kUpdate[] = {0.890185185185185, 0.17888888888888885};

Plan NovaPlan() {
  Plan plan = PlanOf("fed_nova", 3);
  plan.update.word_bits = 64;
  plan.update.range = 64;
  return plan;
}

TEST(FedNovaTest, IsTheReferenceWhateverTheScaleOfSteps) {
  for (const double scale : {1.0, 20.0, 3.5}) {
    RuleBench bench(NovaPlan(), 2);
    for (size_t k = 0; k < 3; ++k) {
      std::vector<float> update = kDeltas[k];
      for (float& value : update) {
        value = static_cast<float>(value * scale / kSteps[k]);
      }
      bench.AddWords(std::string(1, static_cast<char>('a' + k)), update,
                     kImages[k] / 450, {static_cast<float>(kSteps[k] / scale)});
    }
    const auto result = bench.Reduce({0, 0});
    ASSERT_THAT(result, IsOk());
    EXPECT_NEAR(result->next[0], kUpdate[0], 1e-6) << scale;
    EXPECT_NEAR(result->next[1], kUpdate[1], 1e-6) << scale;
  }
}

TEST(FedNovaTest, RefusesASumOfNoSteps) {
  const RingSpec ring{32, 8};
  const std::vector<uint64_t> words = {1}, none = {0}, negative = {0xffffff00};
  const std::vector<float> previous = {0};
  for (const absl::Span<const uint64_t> scalars :
       {absl::Span<const uint64_t>(none), absl::Span<const uint64_t>(negative),
        absl::Span<const uint64_t>()}) {
    std::vector<float> next = {7};
    EXPECT_THAT(FedNova(1).Apply({ring, words, 1, 1, previous, {}, scalars},
                                 absl::MakeSpan(next)),
                HasCode(absl::StatusCode::kInvalidArgument));
    EXPECT_EQ(next[0], 7);
  }
}

TEST(AccumulatedStepsTest, CountMomentum) {
  Plan plan = NovaPlan();
  plan.optimizer.momentum = 0;
  EXPECT_EQ(AccumulatedSteps(plan, 20), 20);
  plan.optimizer.momentum = 0.9;
  EXPECT_NEAR(AccumulatedSteps(plan, 5), 13.1441, 1e-9);
  EXPECT_NEAR(AccumulatedSteps(plan, 20), 120.94189891315123, 1e-9);
  EXPECT_NEAR(AccumulatedSteps(plan, 8), 28.742048900000004, 1e-9);
}

TEST(LocalStepsTest, CountsBatchesAsTrainingCutsThem) {
  Plan plan = NovaPlan();
  plan.batch_size = 8;
  struct Case {
    uint64_t images;
    int accumulate, epochs;
    int64_t steps;
  };
  const Case cases[] = {
      {16, 1, 1, 2}, {18, 1, 1, 3},  // a smaller last batch
      {17, 1, 1, 2},                 // a last one of one image joins
      {1, 1, 1, 1},  {18, 1, 5, 15}, {18, 2, 1, 2}, {17, 2, 3, 3},
  };
  for (const Case& c : cases) {
    plan.accumulate = c.accumulate;
    plan.local_epochs = c.epochs;
    EXPECT_EQ(LocalSteps(plan, c.images), c.steps) << c.images;
  }
}

TEST(NovaStepsTest, IsOneAtTheWeightCap) {
  Plan plan = NovaPlan();
  plan.update.weight_cap = 640;
  EXPECT_EQ(NovaSteps(plan, 640), 1);
  EXPECT_GT(NovaSteps(plan, 1280), 1.9);
  EXPECT_LT(NovaSteps(plan, 64), 0.11);
}

}  // namespace
}  // namespace fedgraft
