#include "client/train/learner.h"

#include <cmath>
#include <numeric>
#include <optional>

#include "client/model/network_state.h"
#include "client/train/schedule.h"
#include "common/model/trainable_set.h"
#include "tests/support/status_matchers.h"
#include "tests/train/fixture.h"
#include "tests/train/learner_bench.h"

namespace fedgraft {
namespace {

using testing::Bench;
using testing::IsError;
using testing::IsOk;
using testing::Silent;

Plan PlanFor(StrategyKind strategy, BatchNormPolicy policy,
             std::vector<std::string> globs = {}) {
  Plan plan = testing::SmallPlan();
  plan.strategy = strategy;
  plan.batch_norm = policy;
  plan.unfreeze = std::move(globs);
  return plan;
}

// Softmax regression by SGD with momentum, written out in double.
std::vector<double> ReferenceHead(Bench& bench, int round) {
  const int64_t n = bench.store->count(), d = 512, classes = 2;
  std::vector<int64_t> all(n);
  std::iota(all.begin(), all.end(), 0);
  const torch::Tensor x =
      (*bench.store->Batch(all)).to(torch::kFloat64).contiguous();
  const double* features = x.data_ptr<double>();
  // Layout order: fc.bias, fc.weight.
  std::vector<double> w(bench.initial.begin(), bench.initial.end());
  std::vector<double> velocity(w.size());
  const double rate = LearningRate(bench.plan, round);
  for (int epoch = 0; epoch < bench.plan.local_epochs; ++epoch) {
    for (const auto& batch : EpochBatches(bench.plan, round, epoch, n)) {
      std::vector<double> gradient(w.size());
      for (int64_t i : batch) {
        double z[2], total = 0;
        for (int c = 0; c < classes; ++c) {
          z[c] = w[c];
          for (int k = 0; k < d; ++k) {
            z[c] += w[classes + c * d + k] * features[i * d + k];
          }
        }
        for (double& value : z) total += value = std::exp(value);
        for (int c = 0; c < classes; ++c) {
          const double error =
              (z[c] / total - (bench.store->labels()[i] == c)) / batch.size();
          gradient[c] += error;
          for (int k = 0; k < d; ++k) {
            gradient[classes + c * d + k] += error * features[i * d + k];
          }
        }
      }
      for (size_t j = 0; j < w.size(); ++j) {
        velocity[j] = bench.plan.optimizer.momentum * velocity[j] +
                      gradient[j] + bench.plan.optimizer.weight_decay * w[j];
        w[j] -= rate * velocity[j];
      }
    }
  }
  return w;
}

TEST(LearnerTest, TrainsTheHeadAsTheFormulasSay) {
  Plan plan = testing::SmallPlan();
  plan.optimizer.weight_decay = 0.1;
  Bench bench(plan);
  const std::vector<double> expected = ReferenceHead(bench, 2);
  ASSERT_THAT(bench.learner->TrainRound(2, *bench.store, Silent), IsOk());
  const ParameterVector values = *bench.learner->Values();
  ASSERT_EQ(values.size(), expected.size());
  double moved = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_NEAR(values[i], expected[i], 2e-5) << i;
    moved = std::max(moved, std::abs(expected[i] - bench.initial[i]));
  }
  EXPECT_GT(moved, 1e-3);
}

struct Strategy {
  const char* name;
  Plan plan;
  int boundary;  // stage of resnet18: stem, 8 blocks, pool, head
};

// Every tensor that may not change, bit by bit.
TEST(LearnerTest, ChangesWhatThePlanUnfreezesOnly) {
  const Strategy strategies[] = {
      {"probe", PlanFor(StrategyKind::kLinearProbe, BatchNormPolicy::kFrozen),
       10},
      {"partial, frozen",
       PlanFor(StrategyKind::kPartial, BatchNormPolicy::kFrozen,
               {"layer4.1.*"}),
       8},
      {"partial, local",
       PlanFor(StrategyKind::kPartial, BatchNormPolicy::kLocal,
               {"layer4.0.conv2.*", "layer4.1.*"}),
       7},
      {"partial, pooled",
       PlanFor(StrategyKind::kPartial, BatchNormPolicy::kPooled,
               {"layer4.1.bn2.weight"}),
       8},
      {"full, frozen", PlanFor(StrategyKind::kFull, BatchNormPolicy::kFrozen),
       0},
      {"full, pooled", PlanFor(StrategyKind::kFull, BatchNormPolicy::kPooled),
       0},
  };
  for (const Strategy& strategy : strategies) {
    SCOPED_TRACE(strategy.name);
    Bench bench(strategy.plan);
    EXPECT_EQ(bench.learner->boundary(), strategy.boundary);
    std::set<std::string> trained;
    for (const auto* layout :
         {&bench.learner->layout(), &bench.learner->local_layout()}) {
      for (const TensorSpec& spec : layout->tensors()) {
        trained.insert(spec.name);
      }
    }
    const auto before = bench.Snapshot();
    ASSERT_THAT(bench.learner->TrainRound(1, *bench.store, Silent), IsOk());
    for (const auto& [name, tensor] : bench.Snapshot()) {
      if (name.ends_with("num_batches_tracked")) continue;
      EXPECT_EQ(torch::equal(tensor, before.at(name)), !trained.contains(name))
          << name;
    }
  }
}

TEST(LearnerTest, KeepsLocalBatchNormOutOfTheLayout) {
  Bench bench(
      PlanFor(StrategyKind::kPartial, BatchNormPolicy::kLocal, {"layer4.1.*"}));
  EXPECT_FALSE(bench.learner->layout().Find("layer4.1.bn1.weight").ok());
  const ParameterLayout& local = bench.learner->local_layout();
  EXPECT_EQ(local.tensors().size(), 8u);  // two layers of four tensors
  EXPECT_TRUE(local.Find("layer4.1.bn2.running_var").ok());
  EXPECT_EQ(Bench(PlanFor(StrategyKind::kFull, BatchNormPolicy::kFrozen))
                .learner->local_layout()
                .Count(),
            0);
}

TEST(LearnerTest, SameInputsGiveSameBytes) {
  for (auto kind : {OptimizerKind::kSgd, OptimizerKind::kAdamW}) {
    Plan plan = PlanFor(StrategyKind::kFull, BatchNormPolicy::kPooled);
    plan.optimizer.kind = kind;
    plan.augmentation.rotate_degrees = 10;
    Bench a(plan), b(plan);
    const auto loss_a = a.learner->TrainRound(2, *a.store, Silent);
    const auto loss_b = b.learner->TrainRound(2, *b.store, Silent);
    ASSERT_THAT(loss_a, IsOk());
    EXPECT_EQ(*loss_a, *loss_b);
    EXPECT_EQ(*a.learner->Values(), *b.learner->Values());
    // And again in the same learner.
    ASSERT_THAT(a.learner->SetValues(a.initial), IsOk());
    ASSERT_THAT(a.learner->TrainRound(2, *a.store, Silent), IsOk());
    EXPECT_EQ(*a.learner->Values(), *b.learner->Values());
  }
}

TEST(LearnerTest, LearnsTheFakeTask) {
  for (auto kind : {OptimizerKind::kSgd, OptimizerKind::kAdamW}) {
    Plan plan = testing::SmallPlan();
    plan.optimizer.kind = kind;
    plan.local_epochs = 20;
    Bench bench(plan, {.train = 40});
    const auto loss = bench.learner->TrainRound(1, *bench.store, Silent);
    ASSERT_THAT(loss, IsOk());
    EXPECT_LT(*loss, 0.3);
    const auto predictions = bench.learner->Predict(*bench.store, Silent);
    ASSERT_THAT(predictions, IsOk());
    EXPECT_GT(SiteMetrics(*predictions, "").at("accuracy"), 0.9);
    for (size_t i = 0; i < predictions->count(); ++i) {
      EXPECT_NEAR(predictions->Row(i)[0] + predictions->Row(i)[1], 1, 1e-5);
      EXPECT_NEAR(predictions->losses[i],
                  -std::log(predictions->Row(i)[predictions->labels[i]]), 1e-4);
    }
  }
}

TEST(LearnerTest, RefreshesStatisticsToMeansOfBatches) {
  Plan plan = PlanFor(StrategyKind::kFull, BatchNormPolicy::kPooled);
  plan.batch_size = 6;
  Bench bench(plan);
  ASSERT_THAT(bench.learner->RefreshStatistics(*bench.store, 2), IsOk());
  // The first layer's input does not depend on statistics: its mean over both
  // batches is the mean over all twelve images.
  std::vector<int64_t> all(12);
  std::iota(all.begin(), all.end(), 0);
  auto tensors = NamedTensors(*bench.network);
  const torch::Tensor expected =
      torch::conv2d(*bench.store->Batch(all), tensors["conv1.weight"].detach(),
                    {}, 2, 3)
          .mean(std::vector<int64_t>{0, 2, 3});
  EXPECT_TRUE(
      torch::allclose(tensors["bn1.running_mean"], expected, 1e-4, 1e-5));
  // Training goes on with the usual momentum.
  ASSERT_THAT(bench.learner->TrainRound(1, *bench.store, Silent), IsOk());
  EXPECT_FALSE(
      torch::equal(NamedTensors(*bench.network)["bn1.running_mean"], expected));
}

TEST(LearnerTest, ReportsDivergence) {
  Plan plan = PlanFor(StrategyKind::kFull, BatchNormPolicy::kFrozen);
  plan.optimizer.learning_rate = 100;
  plan.local_epochs = 20;
  Bench bench(plan);
  EXPECT_THAT(bench.learner->TrainRound(1, *bench.store, Silent),
              IsError(absl::StatusCode::kFailedPrecondition, "diverged"));
}

TEST(LearnerTest, RefusesToJudgeAnOverflowingModel) {
  Bench bench(testing::SmallPlan());
  ParameterVector huge(bench.initial.size(), 3e38f);
  ASSERT_THAT(bench.learner->SetValues(huge), IsOk());
  EXPECT_THAT(bench.learner->Predict(*bench.store, Silent),
              IsError(absl::StatusCode::kFailedPrecondition, "not finite"));
}

TEST(LearnerTest, RefusesToTrainWithoutImages) {
  Bench bench(testing::SmallPlan(), {.train = 0});
  EXPECT_THAT(
      bench.learner->TrainRound(1, *bench.store, Silent),
      IsError(absl::StatusCode::kFailedPrecondition, "no training images"));
}

TEST(LearnerTest, DoesNothingInZeroEpochs) {
  Plan plan = testing::SmallPlan();
  plan.local_epochs = 0;
  Bench bench(plan);
  ASSERT_THAT(bench.learner->TrainRound(1, *bench.store, Silent), IsOk());
  EXPECT_EQ(*bench.learner->Values(), bench.initial);
}

TEST(LearnerTest, RefusesALayoutOfAnotherNetwork) {
  Plan plan = testing::SmallPlan();
  Compute compute;
  auto layout = *ParameterLayout::Create({{"classifier.1.bias", {2}}});
  EXPECT_THAT(Learner::Create(plan, layout,
                              testing::SeededNetwork("resnet18", 2), compute),
              IsError(absl::StatusCode::kInvalidArgument,
                      "no tensor classifier.1.bias"));
}

TEST(ComputeTest, RefusesUnknownDevicesAndPrecisions) {
  EXPECT_THAT(SetUpCompute({"gpu", 1, "none"}),
              IsError(absl::StatusCode::kInvalidArgument, "cuda:N"));
  EXPECT_THAT(SetUpCompute({"cuda:63", 1, "none"}),
              IsError(absl::StatusCode::kFailedPrecondition, "usable GPUs"));
  EXPECT_THAT(SetUpCompute({"cpu", 1, "fp8"}),
              IsError(absl::StatusCode::kInvalidArgument, "bf16"));
  const auto compute = SetUpCompute({"cpu", 2, "bf16"});
  ASSERT_THAT(compute, IsOk());
  EXPECT_EQ(compute->threads, 2);
  // Autocasting is for GPUs.
  EXPECT_EQ(compute->autocast, Autocast::kNone);
}

TEST(LossScalerTest, SkipsAnOverflowedStepAndHalves) {
  LossScaler scaler(true);
  torch::Tensor parameter = torch::zeros({2}).set_requires_grad(true);
  parameter.mutable_grad() = torch::full({2}, scaler.scale());
  EXPECT_TRUE(scaler.Unscale({parameter}));
  EXPECT_EQ(parameter.grad()[0].item<float>(), 1);
  const double before = scaler.scale();
  parameter.mutable_grad() = torch::full({2}, INFINITY);
  EXPECT_FALSE(scaler.Unscale({parameter}));
  EXPECT_EQ(scaler.scale(), before / 2);
}

}  // namespace
}  // namespace fedgraft
