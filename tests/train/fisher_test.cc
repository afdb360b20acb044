#include "client/train/fisher.h"

#include <cmath>
#include <numeric>
#include <vector>

#include "client/train/curvature.h"
#include "client/train/forgetting.h"
#include "tests/support/status_matchers.h"
#include "tests/train/learner_bench.h"

namespace fedgraft {
namespace {

using testing::AllRows;
using testing::Bench;
using testing::IsError;
using testing::IsOk;
using testing::Silent;

Plan PartialPlan() {
  Plan plan = testing::SmallPlan();
  plan.strategy = StrategyKind::kPartial;
  plan.unfreeze = {"layer4.1.conv2.weight"};
  return plan;
}

// A head whose answers are not all alike.
std::unique_ptr<Bench> TrainedProbe() {
  Plan plan = testing::SmallPlan();
  plan.local_epochs = 3;
  auto bench =
      std::make_unique<Bench>(plan, testing::FakeSource::Options{.train = 20});
  EXPECT_THAT(bench->learner->TrainRound(1, *bench->store, Silent), IsOk());
  return bench;
}

// The Fisher information by autograd, a record at a time.
NamedValues ByAutograd(Bench& bench, FisherKind kind) {
  const TrainedModel model = bench.learner->model();
  const std::vector<torch::Tensor> values = ValuesOf(model.parameters);
  const torch::Tensor rows = AllRows(*bench.store);
  NamedValues sums;
  const int64_t n = rows.size(0);
  for (int64_t i = 0; i < n; ++i) {
    const torch::Tensor log_p = torch::log_softmax(
        model.Logits(rows.narrow(0, i, 1), bench.store->stage()), 1)[0];
    for (int c = 0; c < 2; ++c) {
      torch::Tensor weight = log_p.detach()[c].exp();
      if (kind == FisherKind::kEmpirical) {
        weight = torch::tensor(bench.store->labels()[i] == c ? 1.0f : 0.0f);
      }
      const auto gradients =
          torch::autograd::grad({log_p[c]}, values, {}, true);
      for (size_t k = 0; k < values.size(); ++k) {
        torch::Tensor& sum = sums[model.parameters[k].name];
        const torch::Tensor part = weight * gradients[k].square() / n;
        sum = sum.defined() ? sum + part : part;
      }
    }
  }
  return sums;
}

void ExpectClose(const NamedValues& actual, const NamedValues& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (const auto& [name, value] : expected) {
    EXPECT_GT(value.abs().max().item<double>(), 0) << name;
    EXPECT_TRUE(torch::allclose(actual.at(name), value, 1e-3,
                                1e-6 * value.max().item<double>()))
        << name;
  }
}

// The closed form of a linear head, and the sum over classes of the rest.
TEST(DiagonalFisherTest, IsTheMeanOfSquaresOfSingleRecords) {
  for (FisherKind kind : {FisherKind::kExact, FisherKind::kEmpirical}) {
    const auto probe_bench = TrainedProbe();
    Bench& probe = *probe_bench;
    const auto head =
        DiagonalFisher(probe.learner->model(), kind, *probe.store, 1, Silent);
    ASSERT_THAT(head, IsOk());
    ExpectClose(*head, ByAutograd(probe, kind));

    Bench partial(PartialPlan());
    const auto block = DiagonalFisher(partial.learner->model(), kind,
                                      *partial.store, 1, Silent);
    ASSERT_THAT(block, IsOk());
    ExpectClose(*block, ByAutograd(partial, kind));
  }
}

// Squaring the gradient of a batch's mean loss lets records cancel.
TEST(DiagonalFisherTest, IsNotTheSquareOfABatchsMean) {
  const auto probe_bench = TrainedProbe();
  Bench& probe = *probe_bench;
  const TrainedModel model = probe.learner->model();
  const auto fisher =
      DiagonalFisher(model, FisherKind::kEmpirical, *probe.store, 1, Silent);
  ASSERT_THAT(fisher, IsOk());
  const torch::Tensor loss = torch::nn::functional::cross_entropy(
      model.Logits(AllRows(*probe.store), probe.store->stage()),
      torch::tensor(probe.store->labels()));
  double shortcut = 0, right = 0;
  for (const torch::Tensor& gradient :
       torch::autograd::grad({loss}, ValuesOf(model.parameters))) {
    shortcut += gradient.square().sum().item<double>();
  }
  for (const auto& [name, value] : *fisher) right += value.sum().item<double>();
  EXPECT_LT(shortcut, 0.5 * right);
}

TEST(DiagonalFisherTest, LeavesTheModelAsItIs) {
  Bench partial(PartialPlan());
  const auto before = partial.Snapshot();
  ASSERT_THAT(DiagonalFisher(partial.learner->model(), FisherKind::kExact,
                             *partial.store, 1, Silent),
              IsOk());
  for (const auto& [name, tensor] : partial.Snapshot()) {
    EXPECT_TRUE(torch::equal(tensor, before.at(name))) << name;
  }
}

TEST(DiagonalFisherTest, NeedsRecords) {
  Bench none(testing::SmallPlan(), {.train = 0});
  EXPECT_THAT(DiagonalFisher(none.learner->model(), FisherKind::kExact,
                             *none.store, 1, Silent),
              IsError(absl::StatusCode::kFailedPrecondition, "no training"));
}

// A loss with the Hessian diag(d) over two blocks, and an off-diagonal pair.
TEST(HessianTracesTest, AreExactForADiagonalHessian) {
  torch::Tensor a = torch::ones({3}, torch::kFloat32).requires_grad_(true);
  torch::Tensor b = torch::ones({2}, torch::kFloat32).requires_grad_(true);
  const torch::Tensor d = torch::tensor({1.0f, 2.0f, 4.0f});
  const TrainedParameters parameters = {{"a", a, 1}, {"b", b, 0}};
  MeanLoss loss;
  loss.batches = 2;
  loss.records = 2;
  loss.batch = [&](int64_t) -> absl::StatusOr<torch::Tensor> {
    return ((d * a.square()).sum() / 2 + b.pow(3).sum()).to(torch::kFloat64);
  };
  const auto traces = HessianTraces(loss, parameters, 1, 3);
  ASSERT_THAT(traces.status(), IsOk());
  EXPECT_NEAR(traces->at(1).mean, 7, 1e-6);
  EXPECT_NEAR(traces->at(1).standard_error, 0, 1e-6);
  EXPECT_NEAR(traces->at(0).mean, 12, 1e-6);
  EXPECT_TRUE(*traces == *HessianTraces(loss, parameters, 1, 3));
}

// With its own answers for targets, the Hessian of a softmax head is
// mean (diag p - p p') x (f, 1)(f, 1)': trace mean sum p (1 - p) (|f|^2 + 1).
// Of 400 probes the estimate's deviation is sqrt(2/400) |H|_F <= 0.0707 tr H
// for a positive semidefinite H; the seed is fixed.
TEST(HessianTracesTest, EstimateThatOfASoftmaxHead) {
  const auto probe_bench = TrainedProbe();
  Bench& probe = *probe_bench;
  const TrainedModel model = probe.learner->model();
  const torch::Tensor f = AllRows(*probe.store).to(torch::kFloat64);
  torch::Tensor p;
  {
    torch::NoGradGuard no_grad;
    p = torch::softmax(model.Logits(AllRows(*probe.store), probe.store->stage())
                           .to(torch::kFloat64),
                       1);
  }
  const double expected =
      ((p * (1 - p)).sum(1) * (f.square().sum(1) + 1)).mean().item<double>();
  std::vector<int64_t> images(f.size(0));
  std::iota(images.begin(), images.end(), 0);
  for (const int probes : {16, 400}) {
    const auto traces =
        HessianTraces(SoftLabelLoss(model, *probe.store, images, p),
                      model.parameters, 3, probes);
    ASSERT_THAT(traces.status(), IsOk());
    const TraceEstimate& trace = traces->at(0);
    // Four standard errors: one seed in 15,000 is further off.
    EXPECT_NEAR(trace.mean, expected, 4 * trace.standard_error) << probes;
    EXPECT_LT(trace.standard_error, (probes == 16 ? 0.5 : 0.1) * expected);
  }
}

// Probes of random signs have the variance 2 sum of squares off the diagonal.
TEST(HessianTracesTest, TellTheirStandardError) {
  const torch::Tensor h = torch::tensor(
      {{3.0, 1.0, 0.5}, {1.0, 2.0, -2.0}, {0.5, -2.0, 1.0}}, torch::kFloat64);
  const torch::Tensor w = torch::zeros({3}, torch::requires_grad());
  MeanLoss loss;
  loss.batches = 1;
  loss.batch = [&](int64_t) -> absl::StatusOr<torch::Tensor> {
    const torch::Tensor x = w.to(torch::kFloat64);
    return torch::matmul(x, torch::matmul(h, x)) / 2;
  };
  const auto traces = HessianTraces(loss, {{"w", w, 2}}, 1, 1000);
  ASSERT_THAT(traces.status(), IsOk());
  const TraceEstimate& trace = traces->at(2);
  const double expected = std::sqrt(2 * 2 * (1 + 0.25 + 4) / 1000);
  EXPECT_NEAR(trace.standard_error / expected, 1, 0.1);
  EXPECT_NEAR(trace.mean, 6, 4 * expected);
}

// What a random step of the head costs, from its optimum under a weight decay
// that keeps its answers undecided.
Forgetting AfterAStep(double size) {
  Plan plan = testing::SmallPlan();
  plan.batch_size = 100;
  plan.local_epochs = 100;
  plan.optimizer.weight_decay = 10;
  Bench probe(plan, {.train = 20, .contrast = 0.02});
  EXPECT_THAT(probe.learner->TrainRound(1, *probe.store, Silent), IsOk());
  const TrainedModel model = probe.learner->model();
  const NamedValues before = CopyValues(model.parameters);
  torch::manual_seed(9);
  for (const TrainedParameter& parameter : model.parameters) {
    torch::NoGradGuard no_grad;
    torch::Tensor value = parameter.value;
    value.add_(torch::randn_like(value), size);
  }
  const auto forgetting =
      ForgettingSince(before, model, *probe.store, 1, Silent);
  EXPECT_THAT(forgetting, IsOk());
  return *forgetting;
}

TEST(ForgettingTest, PredictionMeetsMeasurementForSmallMoves) {
  int small = 0;
  double error = 0;
  for (double size : {0.1, 0.006, 0.003, 0.001}) {
    const Forgetting forgetting = AfterAStep(size);
    ASSERT_GT(forgetting.measured, 0) << size;
    error = std::abs(forgetting.predicted / forgetting.measured - 1);
    RecordProperty("step " + std::to_string(size),
                   std::to_string(forgetting.measured) + " error " +
                       std::to_string(error));
    if (forgetting.measured > 1e-3) continue;
    ++small;
    EXPECT_LT(error, 0.01) << forgetting.measured;
  }
  EXPECT_GE(small, 2);
  EXPECT_LT(error, 0.003);
  // Far away the quadratic is another function.
  const Forgetting far = AfterAStep(0.5);
  EXPECT_GT(std::abs(far.predicted / far.measured - 1), 0.1);
}

TEST(ForgettingTest, LeavesTheModelAsItIs) {
  Bench partial(PartialPlan());
  const TrainedModel model = partial.learner->model();
  const NamedValues before = CopyValues(model.parameters);
  ASSERT_THAT(partial.learner->TrainRound(1, *partial.store, Silent), IsOk());
  const auto after = partial.Snapshot();
  const auto forgetting =
      ForgettingSince(before, model, *partial.store, 1, Silent);
  ASSERT_THAT(forgetting, IsOk());
  EXPECT_GT(forgetting->measured, 0);
  EXPECT_GT(forgetting->predicted, 0);
  for (const auto& [name, tensor] : partial.Snapshot()) {
    EXPECT_TRUE(torch::equal(tensor, after.at(name))) << name;
  }
}

}  // namespace
}  // namespace fedgraft
