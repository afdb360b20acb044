#include "client/train/private_round_trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "client/train/clipped_gradients.h"
#include "client/train/gaussian_noise.h"
#include "tests/support/sim_random.h"
#include "tests/support/status_matchers.h"
#include "tests/train/learner_bench.h"

namespace fedgraft {
namespace {

using testing::Bench;
using testing::IsError;
using testing::IsOk;
using testing::Silent;
using testing::SimRandom;

Plan PrivatePlan(double noise, double clip) {
  Plan plan = testing::SmallPlan();
  plan.optimizer.momentum = 0;
  plan.differential_privacy.kind = DifferentialPrivacy::kRecord;
  plan.differential_privacy.noise_multiplier = noise;
  plan.differential_privacy.record_clip_norm = clip;
  return plan;
}

TrainingLoss LossOf(const Bench& bench) {
  TrainingLoss::Options options;
  options.label_smoothing = bench.plan.loss.label_smoothing;
  return TrainingLoss(std::move(options), bench.store->labels(), torch::kCPU);
}

std::vector<int64_t> Everything(const Bench& bench) {
  std::vector<int64_t> images(bench.store->count());
  std::iota(images.begin(), images.end(), 0);
  return images;
}

std::vector<torch::Tensor> Sums(Bench& bench, double clip,
                                bool always_by_record,
                                const std::vector<int64_t>& images,
                                double* loss_sum = nullptr) {
  const TrainedModel model = bench.learner->model();
  const TrainingLoss loss = LossOf(bench);
  ClippedGradients gradients(
      {model, loss, bench.plan.loss.label_smoothing, clip, always_by_record});
  std::vector<int64_t> labels;
  for (const int64_t image : images) {
    labels.push_back(bench.store->labels()[image]);
  }
  const auto sum = gradients.Add(*bench.store->Batch(images),
                                 bench.store->stage(), images, labels);
  EXPECT_THAT(sum, IsOk());
  if (loss_sum != nullptr) *loss_sum = *sum;
  return gradients.sums();
}

double Norm(const std::vector<torch::Tensor>& values) {
  double squares = 0;
  for (const torch::Tensor& value : values) {
    squares += value.to(torch::kFloat64).square().sum().item<double>();
  }
  return std::sqrt(squares);
}

// The norm of an outer product against gradients that autograd makes one by
// one, where all, some and none are clipped.
TEST(ClippedGradientsTest, AHeadsGhostNormsAgreeWithExplicitGradients) {
  for (const double smoothing : {0.0, 0.2}) {
    Plan plan = PrivatePlan(1, 1);
    plan.loss.label_smoothing = smoothing;
    Bench bench(plan, {.train = 20});
    const std::vector<int64_t> images = Everything(bench);
    std::vector<double> norms;
    for (const int64_t image : images) {
      norms.push_back(Norm(Sums(bench, 1e9, true, {image})));
    }
    std::sort(norms.begin(), norms.end());
    for (const double clip : {norms[0] / 2, norms[10], norms[19] * 2}) {
      double ghost_loss = 0, loss = 0;
      const auto ghost = Sums(bench, clip, false, images, &ghost_loss);
      const auto expected = Sums(bench, clip, true, images, &loss);
      ASSERT_EQ(ghost.size(), 2u);
      EXPECT_NEAR(ghost_loss, loss, 1e-5 * loss);
      for (size_t i = 0; i < ghost.size(); ++i) {
        EXPECT_LT(Norm({ghost[i] - expected[i]}), 1e-6 * Norm(expected) + 1e-7)
            << clip;
      }
    }
  }
}

TEST(ClippedGradientsTest, NoRecordMovesTheSumByMoreThanTheClipNorm) {
  for (const auto strategy :
       {StrategyKind::kLinearProbe, StrategyKind::kPartial}) {
    Plan plan = PrivatePlan(1, 1);
    plan.strategy = strategy;
    if (strategy == StrategyKind::kPartial) plan.unfreeze = {"layer4.1.*"};
    Bench bench(plan, {.train = 4});
    const double unclipped = Norm(Sums(bench, 1e9, false, {0}));
    ASSERT_GT(unclipped, 0.02);
    EXPECT_LE(Norm(Sums(bench, 0.01, false, {0})), 0.01);
    EXPECT_GT(Norm(Sums(bench, 0.01, false, {0})), 0.0099);
    EXPECT_NEAR(Norm(Sums(bench, 2 * unclipped, false, {0})), unclipped,
                1e-4 * unclipped);
  }
}

// With next to no noise, a batch of everybody and a clip norm out of reach,
// a step is one of plain gradient descent on the mean loss.
TEST(PrivateRoundTrainerTest, WithoutNoiseItIsGradientDescent) {
  Plan plan = PrivatePlan(1e-9, 1e3);
  plan.batch_size = 12;
  plan.local_epochs = 3;
  Bench bench(plan), plain([&] {
    Plan other = plan;
    other.differential_privacy.kind = DifferentialPrivacy::kNone;
    return other;
  }());
  const auto loss = bench.learner->TrainRound(1, *bench.store, Silent);
  const auto expected = plain.learner->TrainRound(1, *plain.store, Silent);
  ASSERT_THAT(loss, IsOk());
  EXPECT_NEAR(*loss, *expected, 1e-4 * *expected);
  const ParameterVector values = *bench.learner->Values();
  const ParameterVector reference = *plain.learner->Values();
  double moved = 0, apart = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    moved += std::pow(reference[i] - plain.initial[i], 2);
    apart += std::pow(values[i] - reference[i], 2);
  }
  EXPECT_GT(moved, 1e-6);
  EXPECT_LT(apart, 1e-6 * moved);
}

// One step of rate 1 from a gradient that is next to nothing: what moves is
// noise of sigma C / B. 1026 values; 5 standard errors, one seed in 1.7
// million.
TEST(PrivateRoundTrainerTest, NoiseIsThatOfThePlan) {
  Plan plan = PrivatePlan(2, 1e-3);
  plan.batch_size = 12;
  plan.local_epochs = 1;
  plan.optimizer.learning_rate = 1;
  Bench bench(plan);
  const TrainedModel model = bench.learner->model();
  const TrainingLoss loss = LossOf(bench);
  SimRandom random(11);
  ASSERT_THAT(PrivateRoundTrainer(
                  {bench.plan, 1, model, loss, {}, *bench.store, random})
                  .Run(Silent),
              IsOk());
  const ParameterVector values = *bench.learner->Values();
  double squares = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    squares += std::pow(values[i] - bench.initial[i], 2);
  }
  const double sigma = 2 * 1e-3 / 12;
  // The clipped mean gradient, at most 1e-3, is a part of it.
  const double n = static_cast<double>(values.size());
  EXPECT_NEAR(std::sqrt(squares / n) / sigma, 1, 5 / std::sqrt(2 * n) + 0.13);
  EXPECT_GT(std::sqrt(squares / n) / sigma, 1 - 5 / std::sqrt(2 * n));
}

TEST(PrivateRoundTrainerTest, ARoundDoneAgainHasOtherNoise) {
  Bench a(PrivatePlan(1, 1)), b(PrivatePlan(1, 1));
  ASSERT_THAT(a.learner->TrainRound(1, *a.store, Silent), IsOk());
  ASSERT_THAT(b.learner->TrainRound(1, *b.store, Silent), IsOk());
  EXPECT_NE(*a.learner->Values(), *b.learner->Values());
}

TEST(PrivateRoundTrainerTest, RefusesWeightsOfImages) {
  Bench bench(PrivatePlan(1, 1));
  bench.learner->SetSampleWeights(std::vector<float>(12, 1.0f));
  EXPECT_THAT(bench.learner->TrainRound(1, *bench.store, Silent),
              IsError(absl::StatusCode::kFailedPrecondition, "weights"));
}

// Bounds of 4.5 standard errors: one seed in 75,000 each.
TEST(GaussianNoiseTest, HasTheMomentsOfTheNormalDistribution) {
  constexpr int kSamples = 400000;
  SimRandom random(5);
  GaussianNoise noise(random);
  std::vector<float> values(kSamples, 1.0f);
  noise.AddTo(absl::MakeSpan(values), 3);
  double sum = 0, squares = 0, fourth = 0;
  int beyond = 0;
  for (const float value : values) {
    const double z = (value - 1.0) / 3;
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
    beyond += std::abs(z) > 1.959964;
  }
  const double error = 4.5 / std::sqrt(double(kSamples));
  EXPECT_NEAR(sum / kSamples, 0, error);
  EXPECT_NEAR(squares / kSamples, 1, error * std::sqrt(2.0));
  EXPECT_NEAR(fourth / kSamples, 3, error * std::sqrt(96.0));
  EXPECT_NEAR(beyond / double(kSamples), 0.05, error * std::sqrt(0.05 * 0.95));
}

TEST(GaussianNoiseTest, ChanceComesAsOftenAsItShould) {
  constexpr int kDraws = 400000;
  SimRandom random(6);
  GaussianNoise noise(random);
  int hits = 0;
  for (int i = 0; i < kDraws; ++i) hits += noise.Chance(0.03) ? 1 : 0;
  EXPECT_NEAR(hits / double(kDraws), 0.03,
              4.5 * std::sqrt(0.03 * 0.97 / kDraws));
  EXPECT_TRUE(noise.Chance(1));
  EXPECT_FALSE(noise.Chance(0));
}

}  // namespace
}  // namespace fedgraft
