#include "client/train/head_trainer.h"

#include "client/train/fused_optimizer.h"
#include "tests/support/status_matchers.h"
#include "tests/train/fixture.h"

namespace fedgraft {
namespace {

using testing::IsError;
using testing::IsOk;

struct Data {
  torch::Tensor features;
  std::vector<int64_t> labels;
};

Data Batch(int64_t n, int64_t dim, int64_t classes, uint64_t seed) {
  torch::manual_seed(seed);
  Data data{torch::randn({n, dim}), {}};
  for (int64_t i = 0; i < n; ++i) data.labels.push_back(i * 7 % classes);
  return data;
}

// The same steps through autograd and torch's own optimisers, in double.
std::vector<torch::Tensor> Reference(const Plan& plan, double rate,
                                     torch::Tensor weight, torch::Tensor bias,
                                     const std::vector<Data>& batches,
                                     std::vector<double>& losses) {
  weight = weight.to(torch::kFloat64).requires_grad_();
  bias = bias.to(torch::kFloat64).requires_grad_();
  const OptimizerSpec& spec = plan.optimizer;
  std::unique_ptr<torch::optim::Optimizer> optimizer;
  const std::vector<torch::Tensor> values = {weight, bias};
  if (spec.kind == OptimizerKind::kAdamW) {
    optimizer = std::make_unique<torch::optim::AdamW>(
        values, torch::optim::AdamWOptions(rate)
                    .betas(std::make_tuple(spec.beta1, spec.beta2))
                    .weight_decay(spec.weight_decay));
  } else {
    optimizer = std::make_unique<torch::optim::SGD>(
        values, torch::optim::SGDOptions(rate)
                    .momentum(spec.momentum)
                    .weight_decay(spec.weight_decay));
  }
  for (const Data& batch : batches) {
    optimizer->zero_grad();
    const torch::Tensor loss = torch::nn::functional::cross_entropy(
        torch::nn::functional::linear(batch.features.to(torch::kFloat64),
                                      weight, bias),
        torch::tensor(batch.labels));
    losses.push_back(loss.item<double>() *
                     static_cast<double>(batch.labels.size()));
    loss.backward();
    optimizer->step();
  }
  return {weight.detach(), bias.detach()};
}

TEST(HeadTrainerTest, StepsAsAutogradDoes) {
  for (auto kind : {OptimizerKind::kSgd, OptimizerKind::kAdamW}) {
    for (int64_t classes : {2, 5, 130}) {
      SCOPED_TRACE(classes);
      Plan plan = testing::SmallPlan();
      plan.optimizer.kind = kind;
      plan.optimizer.weight_decay = 0.05;
      torch::manual_seed(classes);
      torch::Tensor weight = torch::randn({classes, 40}) * 0.1;
      torch::Tensor bias = torch::randn({classes}) * 0.1;
      // Batches of more than one length.
      std::vector<Data> batches;
      for (int64_t i = 0; i < 20; ++i) {
        batches.push_back(Batch(i % 4 == 3 ? 5 : 16, 40, classes, i + 1));
      }
      std::vector<double> losses;
      const auto expected =
          Reference(plan, 0.02, weight, bias, batches, losses);
      HeadTrainer trainer(plan, 0.02, weight, bias);
      for (size_t i = 0; i < batches.size(); ++i) {
        const auto loss = trainer.Step(batches[i].features, batches[i].labels);
        ASSERT_THAT(loss, IsOk());
        EXPECT_NEAR(*loss, losses[i], 1e-4 * losses[i]);
      }
      EXPECT_TRUE(
          torch::allclose(weight.to(torch::kFloat64), expected[0], 1e-4, 2e-5));
      EXPECT_TRUE(
          torch::allclose(bias.to(torch::kFloat64), expected[1], 1e-4, 2e-5));
    }
  }
}

// A record of weight 2 is one that is there twice, one of weight 0 none.
TEST(HeadTrainerTest, WeightsAreRepetitions) {
  const Plan plan = testing::SmallPlan();
  const Data batch = Batch(6, 10, 3, 1);
  const std::vector<int64_t> rows = {0, 0, 2, 3, 4, 5};  // 1 is left out
  Data repeated{batch.features.index_select(0, torch::tensor(rows)), {}};
  for (const int64_t row : rows) repeated.labels.push_back(batch.labels[row]);
  torch::Tensor weight = torch::randn({3, 10}), bias = torch::randn({3});
  torch::Tensor other_weight = weight.clone(), other_bias = bias.clone();
  HeadTrainer weighted(plan, 0.1, weight, bias);
  HeadTrainer plain(plan, 0.1, other_weight, other_bias);
  for (int step = 0; step < 3; ++step) {
    const auto loss = weighted.Step(batch.features, batch.labels,
                                    std::vector<float>{2, 0, 1, 1, 1, 1});
    const auto expected = plain.Step(repeated.features, repeated.labels);
    ASSERT_THAT(loss, IsOk());
    ASSERT_THAT(expected, IsOk());
    EXPECT_NEAR(*loss, *expected, 1e-5);
  }
  EXPECT_TRUE(torch::allclose(weight, other_weight, 1e-5, 1e-6));
  EXPECT_TRUE(torch::allclose(bias, other_bias, 1e-5, 1e-6));
}

TEST(HeadTrainerTest, LeavesTheHeadAloneWhenTheLossIsNotFinite) {
  torch::Tensor weight = torch::full({2, 4}, 3e38f);
  torch::Tensor bias = torch::zeros({2});
  HeadTrainer trainer(testing::SmallPlan(), 0.1, weight, bias);
  EXPECT_THAT(trainer.Step(torch::ones({3, 4}), {0, 1, 0}),
              IsError(absl::StatusCode::kFailedPrecondition, "diverged"));
  EXPECT_TRUE(torch::equal(weight, torch::full({2, 4}, 3e38f)));
  EXPECT_TRUE(torch::equal(bias, torch::zeros({2})));
}

TEST(HeadTrainerTest, LeavesEverythingElseToAutograd) {
  const Plan plain = testing::SmallPlan();
  EXPECT_TRUE(HeadTrainer::Covers(plain));
  const std::vector<std::function<void(Plan&)>> changes = {
      [](Plan& plan) { plan.loss.class_weights = ClassWeights::kLocal; },
      [](Plan& plan) { plan.loss.label_smoothing = 0.1; },
      [](Plan& plan) { plan.regularizers.l2_sp_alpha = 1; },
      [](Plan& plan) { plan.regularizers.l2_sp_beta = 1; },
      [](Plan& plan) { plan.regularizers.fed_prox_mu = 1; },
      [](Plan& plan) { plan.regularizers.ewc_lambda = 1; },
      [](Plan& plan) { plan.gradient_norm_max = 1; },
      [](Plan& plan) { plan.accumulate = 2; },
      [](Plan& plan) { plan.layer_rates.kind = LayerRateKind::kBackbone; },
      [](Plan& plan) { plan.personal.kind = PersonalKind::kDitto; },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    Plan plan = plain;
    changes[i](plan);
    EXPECT_FALSE(HeadTrainer::Covers(plan)) << i;
  }
}

}  // namespace
}  // namespace fedgraft
