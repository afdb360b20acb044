#include "client/train/training_loss.h"

#include "client/train/parameter_groups.h"
#include "tests/support/status_matchers.h"
#include "tests/train/learner_bench.h"

namespace fedgraft {
namespace {

// Reference values: Python's torch 1.13 in double precision,
// CrossEntropyLoss(weight, label_smoothing) with SGD and AdamW.

const std::vector<int64_t> kLabels = {0, 2, 1, 0};
const std::vector<int64_t> kAll = {0, 1, 2, 3};

torch::Tensor Logits() {
  return torch::tensor(
             {0.2, -0.1, 1.0, 1.5, 0.3, -0.7, 0.0, 0.4, 0.1, -1.0, 2.0, 0.5},
             torch::kFloat32)
      .reshape({4, 3});
}

double MeanOf(const TrainingLoss& loss, const std::vector<int64_t>& images) {
  const torch::Tensor rows = Logits().index_select(0, torch::tensor(images));
  return loss.Sum(rows, images).item<double>() / loss.Weight(images);
}

TEST(TrainingLossTest, IsTorchsWeightedMean) {
  struct Case {
    TrainingLoss::Options options;
    double expected;
  };
  for (const Case& c : {Case{{0.1, {0.5, 2.0, 1.25}, {}}, 1.6874032935018326},
                        Case{{0.1, {}, {}}, 1.9485660255452821},
                        Case{{0, {0.5, 2.0, 1.25}, {}}, 1.706125747610496},
                        Case{{0, {}, {}}, 2.011066025545282}}) {
    EXPECT_NEAR(MeanOf(TrainingLoss(c.options, kLabels, torch::kCPU), kAll),
                c.expected, 1e-6);
  }
}

TEST(TrainingLossTest, AWeightOfARecordCountsHowOftenItIsThere) {
  const std::vector<double> classes = {0.5, 2.0, 1.25};
  const TrainingLoss once({0.1, classes, {}}, kLabels, torch::kCPU);
  const TrainingLoss weighted({0.1, classes, {1, 0, 2, 1}}, kLabels,
                              torch::kCPU);
  EXPECT_NEAR(MeanOf(weighted, kAll), MeanOf(once, {0, 2, 2, 3}), 1e-6);
  EXPECT_GT(std::abs(MeanOf(weighted, kAll) - MeanOf(once, kAll)), 1e-3);
}

TEST(ClassWeightsTest, MakeEveryClassCountAsMuch) {
  const std::vector<double> counts = CountClasses({0, 2, 0, 0, 2, 0}, 3);
  EXPECT_EQ(counts, (std::vector<double>{4, 0, 2}));
  const std::vector<double> weights = InverseFrequencies(counts);
  EXPECT_DOUBLE_EQ(weights[0], 0.5);
  EXPECT_DOUBLE_EQ(weights[2], 1);
  EXPECT_EQ(weights[1], 0);  // absent
}

struct Golden {
  OptimizerKind kind;
  std::vector<double> weight, bias;
};

TEST(MakeOptimizerTest, StepsAsPythonsTorchWithARateForEachGroup) {
  for (const Golden& golden :
       {Golden{
            OptimizerKind::kSgd,
            {0.07710648, -0.267323052, 0.349468467, -0.175394024, 0.590974046,
             -0.323362208, -0.090588257, 0.148538506, -0.026106259},
            {0.041824758, -0.042694341, 0.000869583}},
        Golden{
            OptimizerKind::kAdamW,
            {-0.146773874, -0.489533986, 0.585046904, -0.295070342, 0.779899272,
             -0.091767657, 0.002763481, -0.098845831, -0.19823665},
            {0.020056745, -0.020058289, 0.029711041}}}) {
    Plan plan;
    plan.optimizer = {golden.kind, 0.1, 0.9, 0.1, 0.9, 0.99};
    plan.layer_rates.kind = LayerRateKind::kGroups;
    plan.layer_rates.groups = {{"*bias", 0.1}};
    torch::Tensor weight =
        torch::tensor({0.1, -0.2, 0.3, 0.0, 0.5, -0.4, -0.3, 0.2, 0.1},
                      torch::kFloat32)
            .reshape({3, 3})
            .requires_grad_(true);
    torch::Tensor bias =
        torch::tensor({0.05, -0.05, 0.0}, torch::kFloat32).requires_grad_(true);
    const torch::Tensor x = torch::tensor({0.5, -1.0, 2.0, 1.5, 0.25, -0.75,
                                           -0.5, 1.0, 0.0, 2.0, -0.5, 1.0},
                                          torch::kFloat32)
                                .reshape({4, 3});
    auto optimizer =
        MakeOptimizer(plan, 1, {{"fc.weight", weight}, {"fc.bias", bias}});
    const TrainingLoss loss({0.1, {0.5, 2.0, 1.25}, {}}, kLabels, torch::kCPU);
    for (int step = 0; step < 3; ++step) {
      weight.mutable_grad().reset();
      bias.mutable_grad().reset();
      const torch::Tensor logits = torch::matmul(x, weight.t()) + bias;
      (loss.Sum(logits, kAll) / loss.Weight(kAll)).backward();
      optimizer->step();
    }
    for (int i = 0; i < 9; ++i) {
      EXPECT_NEAR(weight.flatten()[i].item<double>(), golden.weight[i], 2e-6);
    }
    for (int i = 0; i < 3; ++i) {
      EXPECT_NEAR(bias[i].item<double>(), golden.bias[i], 2e-6);
    }
  }
}

// resnet18: stem, eight blocks, head.
TEST(RateMultiplierTest, FollowsTheBlocksBelowTheHead) {
  Plan plan = testing::SmallPlan();
  plan.strategy = StrategyKind::kFull;
  testing::Bench bench(plan);
  struct Case {
    LayerRateSpec spec;
    std::map<std::string, double> multipliers;
  };
  LayerRateSpec decay{LayerRateKind::kBlockDecay, 0.5, {}, 0};
  LayerRateSpec backbone{LayerRateKind::kBackbone, 0.1, {}, 0};
  LayerRateSpec groups{
      LayerRateKind::kGroups, 0.1, {{"layer4.*", 0.3}, {"*bn1*", 0.2}}, 0};
  for (const Case& c : {Case{decay,
                             {{"fc.weight", 1},
                              {"layer4.1.conv1.weight", 0.5},
                              {"layer4.0.bn1.bias", 0.25},
                              {"conv1.weight", std::pow(0.5, 9)}}},
                        Case{backbone,
                             {{"fc.bias", 1},
                              {"layer4.1.conv1.weight", 0.1},
                              {"conv1.weight", 0.1}}},
                        Case{groups,
                             {{"fc.bias", 1},
                              {"layer4.1.bn1.weight", 0.3},
                              {"layer3.1.bn1.weight", 0.2},
                              {"conv1.weight", 1}}}}) {
    int seen = 0;
    for (const TrainedParameter& parameter :
         bench.learner->model().parameters) {
      const auto expected = c.multipliers.find(parameter.name);
      if (expected == c.multipliers.end()) continue;
      ++seen;
      EXPECT_DOUBLE_EQ(RateMultiplier(c.spec, parameter), expected->second)
          << parameter.name;
    }
    EXPECT_EQ(seen, static_cast<int>(c.multipliers.size()));
  }
}

TEST(DepthInRoundTest, UnfreezesABlockThatIsTrainedEveryFewRounds) {
  const TrainedParameters trained = {
      {"a", {}, 5}, {"b", {}, 2}, {"head", {}, 0}};
  LayerRateSpec spec;
  EXPECT_EQ(DepthInRound(spec, 1, trained), 5);
  spec.unfreeze_every = 2;
  const int depths[] = {0, 0, 2, 2, 5, 5, 5};
  for (int round = 1; round <= 7; ++round) {
    EXPECT_EQ(DepthInRound(spec, round, trained), depths[round - 1]) << round;
  }
}

}  // namespace
}  // namespace fedgraft
