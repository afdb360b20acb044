#include <functional>
#include <memory>
#include <vector>

#include "client/train/embedding_spread.h"
#include "client/train/projector.h"
#include "client/train/resumable_optimizer.h"
#include "client/train/ssl_loss.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

torch::Tensor A() {
  return torch::tensor({{0.5, -1.0, 2.0},
                        {1.5, 0.25, -0.75},
                        {-0.5, 1.0, 0.5},
                        {2.0, 1.0, -1.0}},
                       torch::kFloat64);
}
torch::Tensor B() {
  return torch::tensor({{0.75, -0.5, 1.5},
                        {1.0, 0.5, -1.0},
                        {-1.0, 0.75, 1.0},
                        {1.5, 1.25, -0.25}},
                       torch::kFloat64);
}

// Reference values: numpy, pair by pair as in the papers' equations.
TEST(SslLossTest, NtXentIsThePapers) {
  EXPECT_NEAR(NtXentLoss(A(), B(), 0.2).item<double>(), 0.5131771918314157,
              1e-12);
  EXPECT_NEAR(NtXentLoss(A(), B(), 1.0).item<double>(), 1.2601045385963303,
              1e-12);
}

TEST(SslLossTest, NtXentDoesNotSeeLengthsAndIsSymmetric) {
  const double loss = NtXentLoss(A(), B(), 0.2).item<double>();
  EXPECT_NEAR(NtXentLoss(3 * A(), B() / 7, 0.2).item<double>(), loss, 1e-12);
  EXPECT_NEAR(NtXentLoss(B(), A(), 0.2).item<double>(), loss, 1e-12);
}

// numpy: mean, var and cov with ddof=1.
TEST(SslLossTest, VicRegTermsAreThePapers) {
  const torch::Tensor a = A() / 4, b = B() / 4;
  EXPECT_NEAR(VicRegLoss(a, b, {1, 0, 0}).item<double>(), 0.012369791666666666,
              1e-12);
  EXPECT_NEAR(VicRegLoss(a, b, {0, 1, 0}).item<double>(), 0.7333850122148395,
              1e-12);
  EXPECT_NEAR(VicRegLoss(a, b, {0, 0, 1}).item<double>(), 0.006858119258174189,
              1e-12);
  EXPECT_NEAR(VicRegLoss(a, b, {}).item<double>(), 18.65072821629583, 1e-10);
  // Some components deviate by more than 1, which the hinge leaves alone.
  EXPECT_NEAR(VicRegLoss(A(), B(), {0, 1, 0}).item<double>(),
              0.05336161835053259, 1e-12);
}

// Against central differences.
TEST(SslLossTest, GradientsAreThoseOfTheLosses) {
  const std::vector<std::function<torch::Tensor(const torch::Tensor&)>> losses =
      {[](const torch::Tensor& a) { return NtXentLoss(a, B(), 0.5); },
       [](const torch::Tensor& a) { return VicRegLoss(a / 2, B() / 2, {}); }};
  for (const auto& loss : losses) {
    torch::Tensor a = A().set_requires_grad(true);
    loss(a).backward();
    for (int64_t i = 0; i < 12; ++i) {
      constexpr double kStep = 1e-6;
      torch::Tensor plus = A(), minus = A();
      plus.view(-1)[i] += kStep;
      minus.view(-1)[i] -= kStep;
      const double expected =
          (loss(plus).item<double>() - loss(minus).item<double>()) /
          (2 * kStep);
      EXPECT_NEAR(a.grad().view(-1)[i].item<double>(), expected, 1e-7);
    }
  }
}

TEST(ProjectorTest, IsSeededAndHasTheSizesAskedFor) {
  Projector a(8, {16, 4}, 1), same(8, {16, 4}, 1), other(8, {16, 4}, 2);
  const torch::Tensor x = torch::randn({5, 8});
  EXPECT_EQ(a.forward(x).sizes().vec(), (std::vector<int64_t>{5, 4}));
  EXPECT_TRUE(torch::equal(a.parameters()[0], same.parameters()[0]));
  EXPECT_FALSE(torch::equal(a.parameters()[0], other.parameters()[0]));
}

// Steps on a matrix, which decays, and a vector, which does not, beside
// torch::optim.
class ResumableOptimizerTest : public ::testing::Test {
 protected:
  ResumableOptimizerTest() {
    torch::manual_seed(5);
    matrix_ = torch::randn({3, 4}).set_requires_grad(true);
    vector_ = torch::randn({4}).set_requires_grad(true);
    torch_matrix_ = matrix_.detach().clone().set_requires_grad(true);
    torch_vector_ = vector_.detach().clone().set_requires_grad(true);
  }
  static void Backward(const torch::Tensor& matrix,
                       const torch::Tensor& vector) {
    (matrix * vector + matrix.pow(3)).sum().backward();
  }
  void Compare(ResumableOptimizer& ours, torch::optim::Optimizer& theirs) {
    for (int64_t step = 1; step <= 6; ++step) {
      Backward(matrix_, vector_);
      ours.Step(0.01, step);
      theirs.zero_grad();
      Backward(torch_matrix_, torch_vector_);
      theirs.step();
      EXPECT_TRUE(torch::allclose(matrix_, torch_matrix_, 1e-5, 1e-6)) << step;
      EXPECT_TRUE(torch::allclose(vector_, torch_vector_, 1e-5, 1e-6)) << step;
    }
  }
  template <typename Options>
  std::vector<torch::optim::OptimizerParamGroup> Groups(Options decays,
                                                        Options keeps) {
    std::vector<torch::optim::OptimizerParamGroup> groups;
    groups.emplace_back(std::vector<torch::Tensor>{torch_matrix_},
                        std::make_unique<Options>(decays));
    groups.emplace_back(std::vector<torch::Tensor>{torch_vector_},
                        std::make_unique<Options>(keeps));
    return groups;
  }

  torch::Tensor matrix_, vector_, torch_matrix_, torch_vector_;
};

TEST_F(ResumableOptimizerTest, AdamWStepsAreTorchs) {
  OptimizerSpec spec;
  spec.kind = OptimizerKind::kAdamW;
  spec.weight_decay = 0.3;
  ResumableOptimizer ours(spec, {{"m", matrix_}, {"v", vector_}});
  const torch::optim::AdamWOptions keeps =
      torch::optim::AdamWOptions(0.01).weight_decay(0);
  torch::optim::AdamW theirs(
      Groups(torch::optim::AdamWOptions(0.01).weight_decay(0.3), keeps), keeps);
  Compare(ours, theirs);
}

TEST_F(ResumableOptimizerTest, SgdStepsAreTorchs) {
  OptimizerSpec spec;
  spec.momentum = 0.8;
  spec.weight_decay = 0.3;
  ResumableOptimizer ours(spec, {{"m", matrix_}, {"v", vector_}});
  const torch::optim::SGDOptions keeps =
      torch::optim::SGDOptions(0.01).momentum(0.8).weight_decay(0);
  torch::optim::SGD theirs(
      Groups(torch::optim::SGDOptions(0.01).momentum(0.8).weight_decay(0.3),
             keeps),
      keeps);
  Compare(ours, theirs);
}

TEST_F(ResumableOptimizerTest, GoesOnFromItsState) {
  OptimizerSpec spec;
  spec.kind = OptimizerKind::kAdamW;
  ResumableOptimizer first(spec, {{"m", matrix_}, {"v", vector_}});
  Backward(matrix_, vector_);
  first.Step(0.1, 1);
  torch::Tensor matrix = matrix_.detach().clone().set_requires_grad(true);
  torch::Tensor vector = vector_.detach().clone().set_requires_grad(true);
  ResumableOptimizer second(spec, {{"m", matrix}, {"v", vector}});
  for (auto& [name, tensor] : second.State()) {
    tensor.copy_(first.State().at(name));
  }
  Backward(matrix_, vector_);
  Backward(matrix, vector);
  first.Step(0.1, 2);
  second.Step(0.1, 2);
  EXPECT_TRUE(torch::equal(matrix, matrix_));
  EXPECT_TRUE(torch::equal(vector, vector_));
}

// 0.1 k / 3, then 0.05 (1 + cos(pi (k - 4) / 7)).
TEST(WarmupCosineRateTest, RisesThenFalls) {
  EXPECT_NEAR(WarmupCosineRate(0.1, 1, 10, 3), 0.0333333333, 1e-9);
  EXPECT_NEAR(WarmupCosineRate(0.1, 3, 10, 3), 0.1, 1e-12);
  EXPECT_NEAR(WarmupCosineRate(0.1, 4, 10, 3), 0.1, 1e-12);
  EXPECT_NEAR(WarmupCosineRate(0.1, 7, 10, 3), 0.0611260467, 1e-9);
  EXPECT_NEAR(WarmupCosineRate(0.1, 10, 10, 3), 0.0049515566, 1e-9);
  EXPECT_NEAR(WarmupCosineRate(0.1, 1, 10, 0), 0.1, 1e-12);
}

// numpy.linalg.svd of the centred rows.
TEST(EmbeddingSpreadTest, IsTheReference) {
  const EmbeddingSpread spread = SpreadOf(A());
  EXPECT_NEAR(spread.deviation, 0.8893650482087764, 1e-12);
  EXPECT_NEAR(spread.effective_rank, 2.416131416060598, 1e-9);
  // More rows than columns: the other Gram matrix.
  const EmbeddingSpread more = SpreadOf(torch::cat({A(), B()}));
  EXPECT_NEAR(more.deviation, 0.8915021974510429, 1e-12);
  EXPECT_NEAR(more.effective_rank, 2.6259057186632786, 1e-9);
}

TEST(EmbeddingSpreadTest, TellsCollapse) {
  const torch::Tensor equal = torch::ones({20, 8}, torch::kFloat64);
  EXPECT_NEAR(SpreadOf(equal).deviation, 0, 1e-12);
  EXPECT_EQ(SpreadOf(equal).effective_rank, 0);
  EXPECT_TRUE(HasCollapsed(SpreadOf(equal)));
  EXPECT_TRUE(HasCollapsed(SpreadOf(torch::zeros({4, 8}, torch::kFloat64))));
  // All on one line, either way along it.
  torch::manual_seed(1);
  const torch::Tensor line = torch::randn({20, 1}, torch::kFloat64) *
                             torch::ones({1, 8}, torch::kFloat64);
  EXPECT_NEAR(SpreadOf(line).effective_rank, 1, 1e-6);
  EXPECT_TRUE(HasCollapsed(SpreadOf(line)));
  const EmbeddingSpread wide =
      SpreadOf(torch::randn({400, 8}, torch::kFloat64));
  EXPECT_GT(wide.deviation, 0.98);
  EXPECT_GT(wide.effective_rank, 7.8);
  EXPECT_FALSE(HasCollapsed(wide));
}

}  // namespace
}  // namespace fedgraft
