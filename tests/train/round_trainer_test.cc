#include "client/train/round_trainer.h"

#include <set>

#include "client/train/plain_training.h"
#include "tests/support/status_matchers.h"
#include "tests/train/learner_bench.h"

namespace fedgraft {
namespace {

using testing::Bench;
using testing::IsError;
using testing::IsOk;
using testing::Silent;

Plan PartialPlan(BatchNormPolicy policy = BatchNormPolicy::kFrozen) {
  Plan plan = testing::SmallPlan();
  plan.strategy = StrategyKind::kPartial;
  plan.unfreeze = {"layer4.*"};
  plan.batch_norm = policy;
  return plan;
}

ParameterVector Trained(const Plan& plan, int round = 1,
                        testing::FakeSource::Options data = {}) {
  Bench bench(plan, data);
  EXPECT_THAT(bench.learner->TrainRound(round, *bench.store, Silent), IsOk());
  return *bench.learner->Values();
}

double Distance(const ParameterVector& a, const ParameterVector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(a[i] - b[i], 2);
  return std::sqrt(sum);
}

TEST(RoundTrainerTest, AccumulatedBatchesAreOneLargeOne) {
  for (auto weights : {ClassWeights::kNone, ClassWeights::kLocal}) {
    Plan large = PartialPlan();
    large.batch_size = 6;
    large.loss.class_weights = weights;
    large.loss.label_smoothing = 0.1;
    Plan small = large;
    small.batch_size = 2;
    small.accumulate = 3;
    const ParameterVector expected = Trained(large, 1, {.train = 14});
    const ParameterVector values = Trained(small, 1, {.train = 14});
    const double moved = Distance(expected, Bench(large).initial);
    EXPECT_LT(Distance(values, expected), 1e-3 * moved);
    small.accumulate = 1;
    EXPECT_GT(Distance(Trained(small, 1, {.train = 14}), expected),
              0.05 * moved);
  }
}

TEST(RoundTrainerTest, AWeightOfZeroIsAsIfTheImageWereNotThere) {
  Plan plan = testing::SmallPlan();
  plan.batch_size = 100;
  Bench all(plan, {.train = 12}), fewer(plan, {.train = 10});
  std::vector<float> weights(12, 1.0f);
  weights[10] = weights[11] = 0;
  all.learner->SetSampleWeights(weights);
  const auto loss = all.learner->TrainRound(1, *all.store, Silent);
  const auto expected = fewer.learner->TrainRound(1, *fewer.store, Silent);
  ASSERT_THAT(loss, IsOk());
  EXPECT_NEAR(*loss, *expected, 1e-5);
  EXPECT_LT(Distance(*all.learner->Values(), *fewer.learner->Values()), 1e-5);
  EXPECT_GT(Distance(*all.learner->Values(), Trained(plan)), 1e-4);
}

TEST(RoundTrainerTest, RefusesSampleWeightsThatDoNotFit) {
  Bench bench(testing::SmallPlan());
  bench.learner->SetSampleWeights({1, 1});
  EXPECT_THAT(bench.learner->TrainRound(1, *bench.store, Silent),
              IsError(absl::StatusCode::kInvalidArgument, "each of the 12"));
  bench.learner->SetSampleWeights(std::vector<float>(12, -1.0f));
  EXPECT_THAT(bench.learner->TrainRound(1, *bench.store, Silent),
              IsError(absl::StatusCode::kInvalidArgument, "not negative"));
}

TEST(RoundTrainerTest, ImagesThatCountForNothingTeachNothing) {
  Plan plan = testing::SmallPlan();
  plan.optimizer.weight_decay = 0.1;
  Bench bench(plan);
  bench.learner->SetSampleWeights(std::vector<float>(12, 0.0f));
  const auto loss = bench.learner->TrainRound(1, *bench.store, Silent);
  ASSERT_THAT(loss, IsOk());
  EXPECT_EQ(*loss, 0);
  EXPECT_EQ(*bench.learner->Values(), bench.initial);
}

TEST(RoundTrainerTest, LocalClassWeightsAreThoseOfTheCounts) {
  Plan local = testing::SmallPlan();
  local.loss.class_weights = ClassWeights::kLocal;
  Plan federated = local;
  federated.loss.class_weights = ClassWeights::kFederated;
  Bench bench(federated, {.train = 13});
  EXPECT_THAT(bench.learner->TrainRound(1, *bench.store, Silent),
              IsError(absl::StatusCode::kFailedPrecondition, "counts of 2"));
  bench.learner->SetClassCounts({7, 6});
  ASSERT_THAT(bench.learner->TrainRound(1, *bench.store, Silent), IsOk());
  EXPECT_EQ(*bench.learner->Values(), Trained(local, 1, {.train = 13}));
  bench.learner->SetClassCounts({1, 6});
  ASSERT_THAT(bench.learner->SetValues(bench.initial), IsOk());
  ASSERT_THAT(bench.learner->TrainRound(1, *bench.store, Silent), IsOk());
  EXPECT_NE(*bench.learner->Values(), Trained(local, 1, {.train = 13}));
}

TEST(RoundTrainerTest, CutsTheGradientsNorm) {
  Plan plan = PartialPlan();
  plan.local_epochs = 1;
  plan.batch_size = 100;
  plan.optimizer.momentum = 0;
  plan.optimizer.learning_rate = 0.5;
  plan.gradient_norm_max = 0.01;
  const Bench start(plan);
  // One step of plain SGD moves by rate times norm.
  EXPECT_NEAR(Distance(Trained(plan), start.initial), 0.5 * 0.01, 1e-5);
  plan.gradient_norm_max = 1e9;
  const ParameterVector loose = Trained(plan);
  plan.gradient_norm_max = 0;
  EXPECT_EQ(loose, Trained(plan));
  EXPECT_GT(Distance(loose, start.initial), 0.01);
}

TEST(RoundTrainerTest, AMultiplierScalesAPlainStep) {
  Plan plan = PartialPlan();
  plan.local_epochs = 1;
  plan.batch_size = 100;
  plan.optimizer.momentum = 0;
  Plan decayed = plan;
  decayed.layer_rates.kind = LayerRateKind::kBlockDecay;
  decayed.layer_rates.factor = 0.5;
  const Bench start(plan);
  const ParameterVector full = Trained(plan), scaled = Trained(decayed);
  const ParameterLayout& layout = start.learner->layout();
  const auto ratio = [&](const char* name) {
    const size_t index = *layout.Find(name);
    double a = 0, b = 0;
    for (int64_t k = 0; k < layout.tensors()[index].Count(); ++k) {
      const size_t at = layout.Offset(index) + k;
      a += std::abs(full[at] - start.initial[at]);
      b += std::abs(scaled[at] - start.initial[at]);
    }
    return b / a;
  };
  EXPECT_NEAR(ratio("fc.weight"), 1, 1e-3);
  EXPECT_NEAR(ratio("layer4.1.conv1.weight"), 0.5, 1e-2);
  EXPECT_NEAR(ratio("layer4.0.conv1.weight"), 0.25, 1e-2);
}

// Tensors by the round in which they first change.
TEST(RoundTrainerTest, UnfreezesFromTheTopAndLeavesTheRestBitByBit) {
  for (auto policy : {BatchNormPolicy::kFrozen, BatchNormPolicy::kPooled,
                      BatchNormPolicy::kLocal}) {
    Plan plan = PartialPlan(policy);
    plan.rounds = 6;
    plan.optimizer.weight_decay = 0.1;
    plan.layer_rates.unfreeze_every = 2;
    const auto first_round = [](const std::string& name) {
      if (name.starts_with("fc.")) return 1;
      return name.starts_with("layer4.1.") ? 3 : 5;
    };
    Bench bench(plan);
    for (int round : {1, 2, 3, 5}) {
      const auto before = bench.Snapshot();
      ASSERT_THAT(bench.learner->TrainRound(round, *bench.store, Silent),
                  IsOk());
      const auto after = bench.Snapshot();
      for (const TensorSpec& spec : bench.learner->trained_layout().tensors()) {
        EXPECT_EQ(torch::equal(before.at(spec.name), after.at(spec.name)),
                  round < first_round(spec.name))
            << spec.name << " in round " << round;
      }
    }
    // All that is trained is open to other uses again.
    for (const auto& parameter : bench.learner->model().parameters) {
      EXPECT_TRUE(parameter.value.requires_grad());
    }
  }
}

TEST(RoundTrainerTest, EveryOptionGivesTheSameBytesAgain) {
  Plan plan = PartialPlan(BatchNormPolicy::kPooled);
  plan.loss = {ClassWeights::kNone, Sampling::kBalanced, 0.1};
  plan.regularizers = {0.1, 0.01, 0.5, 0, FisherKind::kExact};
  plan.layer_rates.kind = LayerRateKind::kBlockDecay;
  plan.gradient_norm_max = 1;
  plan.accumulate = 2;
  plan.deterministic = true;
  SetDeterministic(true);
  const ParameterVector first = Trained(plan, 2), second = Trained(plan, 2);
  SetDeterministic(false);
  EXPECT_EQ(first, second);
}

TEST(RoundTrainerTest, EwcNeedsTheRunsStart) {
  Plan plan = PartialPlan();
  plan.regularizers.ewc_lambda = 1;
  Bench bench(plan);
  EXPECT_THAT(bench.learner->TrainRound(1, *bench.store, Silent),
              IsError(absl::StatusCode::kFailedPrecondition, "run's start"));
}

TEST(TrainsPlainlyTest, EveryOptionIsSeen) {
  using Change = void (*)(Plan&);
  const Change changes[] = {
      [](Plan& p) { p.loss.class_weights = ClassWeights::kLocal; },
      [](Plan& p) { p.loss.sampling = Sampling::kBalanced; },
      [](Plan& p) { p.loss.label_smoothing = 0.1; },
      [](Plan& p) { p.regularizers.l2_sp_alpha = 1; },
      [](Plan& p) { p.regularizers.l2_sp_beta = 1; },
      [](Plan& p) { p.regularizers.fed_prox_mu = 1; },
      [](Plan& p) { p.regularizers.ewc_lambda = 1; },
      [](Plan& p) { p.gradient_norm_max = 1; },
      [](Plan& p) { p.accumulate = 2; },
      [](Plan& p) { p.layer_rates.kind = LayerRateKind::kGroups; },
      [](Plan& p) { p.layer_rates.unfreeze_every = 1; },
      [](Plan& p) { p.personal.kind = PersonalKind::kDitto; },
      [](Plan& p) { p.personal.kind = PersonalKind::kLocalHead; }};
  EXPECT_TRUE(TrainsPlainly(Plan()));
  for (size_t i = 0; i < std::size(changes); ++i) {
    Plan plan;
    changes[i](plan);
    EXPECT_FALSE(TrainsPlainly(plan)) << i;
  }
}

}  // namespace
}  // namespace fedgraft
