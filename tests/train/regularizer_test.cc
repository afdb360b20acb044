#include "client/train/regularizer.h"

#include "tests/support/status_matchers.h"
#include "tests/train/learner_bench.h"

namespace fedgraft {
namespace {

// What every regulariser of the list must fulfil.
class RegularizerConformanceTest : public ::testing::Test {
 protected:
  RegularizerConformanceTest() {
    torch::manual_seed(5);
    for (const auto& [name, depth] :
         {std::pair<const char*, int>{"block.weight", 1},
          {"block.bias", 1},
          {"head.weight", 0}}) {
      parameters_.push_back(
          {name, torch::randn({3, 4}, torch::kFloat64).requires_grad_(true),
           depth});
      anchors_.round_start[name] = torch::randn({3, 4}, torch::kFloat64);
      anchors_.run_start[name] = torch::randn({3, 4}, torch::kFloat64);
      anchors_.fisher[name] = torch::rand({3, 4}, torch::kFloat64);
      anchors_.shared[name] = torch::randn({3, 4}, torch::kFloat64);
      if (depth > 0) {
        anchors_.pretrained[name] = torch::randn({3, 4}, torch::kFloat64);
      }
    }
    plan_.regularizers = {0.3, 0.2, 0.7, 11, FisherKind::kExact};
    plan_.personal = {PersonalKind::kDitto, 1.5};
  }
  // Where each has its minimum.
  NamedValues AnchorOf(const std::string& name) const {
    if (name == "fed_prox") return anchors_.round_start;
    if (name == "ewc") return anchors_.run_start;
    if (name == "ditto") return anchors_.shared;
    NamedValues values = anchors_.pretrained;
    values["head.weight"] = torch::zeros({3, 4}, torch::kFloat64);
    return values;
  }
  void ClearGradients() {
    for (TrainedParameter& parameter : parameters_) {
      parameter.value.mutable_grad().reset();
    }
  }

  Plan plan_;
  TrainedParameters parameters_;
  Anchors anchors_;
};

TEST_F(RegularizerConformanceTest, AllAreMadeAndNoneWithoutBeingAskedFor) {
  const auto all = MakeRegularizers(plan_, parameters_, anchors_);
  ASSERT_EQ(all.size(), RegularizerFactories().size());
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i]->name(), RegularizerFactories()[i].name);
  }
  EXPECT_TRUE(MakeRegularizers(Plan(), parameters_, Anchors()).empty());
}

TEST_F(RegularizerConformanceTest, IsZeroAtItsAnchorOnly) {
  for (const auto& term : MakeRegularizers(plan_, parameters_, anchors_)) {
    SCOPED_TRACE(std::string(term->name()));
    EXPECT_GT(term->Penalty().item<double>(), 0.01);
    const NamedValues elsewhere = CopyValues(parameters_);
    SetValues(AnchorOf(std::string(term->name())), parameters_);
    EXPECT_EQ(term->Penalty().item<double>(), 0);
    ClearGradients();
    term->AddGradient();
    for (const TrainedParameter& parameter : parameters_) {
      EXPECT_EQ(parameter.value.grad().abs().max().item<double>(), 0);
    }
    SetValues(elsewhere, parameters_);
  }
}

TEST_F(RegularizerConformanceTest, AddsTheGradientOfItsPenalty) {
  for (const auto& term : MakeRegularizers(plan_, parameters_, anchors_)) {
    SCOPED_TRACE(std::string(term->name()));
    const auto expected =
        torch::autograd::grad({term->Penalty()}, ValuesOf(parameters_));
    ClearGradients();
    term->AddGradient();
    term->AddGradient();  // adds, does not set
    for (size_t i = 0; i < parameters_.size(); ++i) {
      EXPECT_TRUE(torch::allclose(parameters_[i].value.grad(), 2 * expected[i],
                                  1e-12, 1e-12));
      // And the penalty's slope by central differences.
      torch::NoGradGuard no_grad;
      torch::Tensor entry = parameters_[i].value[1][2];
      const double h = 1e-5;
      entry.add_(h);
      const double above = term->Penalty().item<double>();
      entry.sub_(2 * h);
      const double below = term->Penalty().item<double>();
      entry.add_(h);
      EXPECT_NEAR((above - below) / (2 * h), expected[i][1][2].item<double>(),
                  1e-7);
    }
  }
}

TEST_F(RegularizerConformanceTest, SameValuesGiveTheSameBytes) {
  for (const auto& term : MakeRegularizers(plan_, parameters_, anchors_)) {
    const torch::Tensor first = term->Penalty();
    ClearGradients();
    term->AddGradient();
    const torch::Tensor gradient = parameters_[0].value.grad().clone();
    ClearGradients();
    term->AddGradient();
    EXPECT_TRUE(torch::equal(first, term->Penalty()));
    EXPECT_TRUE(torch::equal(gradient, parameters_[0].value.grad()));
  }
}

// In a network with BatchNorm layers that learn statistics.
TEST(RegularizerTest, TouchesGradientsOnly) {
  Plan plan = testing::SmallPlan();
  plan.strategy = StrategyKind::kFull;
  plan.batch_norm = BatchNormPolicy::kPooled;
  plan.regularizers = {0.3, 0.2, 0.7, 0, FisherKind::kExact};
  testing::Bench bench(plan);
  const TrainedModel model = bench.learner->model();
  Anchors anchors;
  anchors.round_start = anchors.pretrained = CopyValues(model.parameters);
  const auto before = bench.Snapshot();
  for (const auto& term : MakeRegularizers(plan, model.parameters, anchors)) {
    term->AddGradient();
    term->Penalty();
  }
  for (const auto& [name, tensor] : bench.Snapshot()) {
    EXPECT_TRUE(torch::equal(tensor, before.at(name))) << name;
  }
}

struct Pull {
  const char* name;
  RegularizerSpec spec;
};

// A strong pull keeps training close to where it pulls to.
TEST(RegularizerTest, KeepsTrainingNearItsAnchor) {
  const auto moved = [](const RegularizerSpec& spec) {
    Plan plan = testing::SmallPlan();
    plan.strategy = StrategyKind::kPartial;
    plan.unfreeze = {"layer4.1.conv2.weight"};
    plan.optimizer.momentum = 0;
    plan.optimizer.learning_rate = 0.02;
    plan.local_epochs = 5;
    plan.regularizers = spec;
    testing::Bench bench(plan);
    EXPECT_THAT(bench.learner->TrainRound(1, *bench.store, testing::Silent),
                testing::IsOk());
    const ParameterVector values = *bench.learner->Values();
    const ParameterLayout& layout = bench.learner->layout();
    double sum = 0;
    for (size_t i = layout.Offset(*layout.Find("layer4.1.conv2.weight"));
         i < values.size(); ++i) {
      sum += std::pow(values[i] - bench.initial[i], 2);
    }
    return std::sqrt(sum);
  };
  const double freely = moved({});
  for (const Pull& pull :
       {Pull{"l2_sp", {20, 0, 0, 0, FisherKind::kExact}},
        Pull{"fed_prox", {0, 0, 20, 0, FisherKind::kExact}}}) {
    EXPECT_LT(moved(pull.spec), 0.6 * freely) << pull.name;
  }
}

}  // namespace
}  // namespace fedgraft
