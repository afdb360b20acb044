#include "client/train/exact_head.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <random>

#include "client/data/data_source_factory.h"
#include "client/data/preprocess.h"
#include "client/model/network_state.h"
#include "client/train/compute.h"
#include "client/train/site_metrics.h"
#include "common/model/safetensors.h"
#include "common/solve/head_solver.h"
#include "common/solve/solve_statistics.h"
#include "gtest/gtest.h"
#include "proto/config.pb.h"
#include "tests/support/status_matchers.h"
#include "tests/train/fixture.h"

namespace fedgraft {
namespace {

using torch::Tensor;

// BreastMNIST through the ImageNet backbone, 128 pixels.
class BreastFeatures {
 public:
  static const BreastFeatures& Get() {
    static const auto* features = new BreastFeatures();
    return *features;
  }
  LabelledFeatures train, val, test;

 private:
  BreastFeatures() {
    EXPECT_TRUE(SetUpCompute({"cpu", 1, "none"}).ok());
    const std::string data = testing::DataFolder();
    pb::DataConfig config;
    config.set_kind("npz");
    config.set_path(data + "/medmnist/breastmnist.npz");
    config.set_shard_count(1);
    config.set_image_megapixels_max(10);
    const auto source =
        *OpenDataSource(config, {{"malignant", "benign"}, DataUse::kTrain});
    PreprocessingSpec spec;
    spec.size = 128;
    spec.mean = {0.485, 0.456, 0.406};
    spec.std = {0.229, 0.224, 0.225};
    const Preprocessor preprocessor = *Preprocessor::Create(spec);
    const auto network = *BuildModel("mobilenet_v2", 2);
    EXPECT_TRUE(LoadState(*SafetensorsFile::Open(
                              data + "/backbones/mobilenet_v2.safetensors"),
                          HeadPolicy::kIgnore, *network)
                    .ok());
    network->eval();
    torch::NoGradGuard no_grad;
    for (auto [split, out] : {std::pair{Split::kTrain, &train},
                              {Split::kVal, &val},
                              {Split::kTest, &test}}) {
      std::vector<Tensor> rows;
      for (size_t i = 0; i < source->Samples(split).size(); ++i) {
        out->labels.push_back(source->Samples(split)[i].label);
        Tensor image = torch::empty({1, 3, 128, 128});
        EXPECT_TRUE(preprocessor
                        .Apply(*source->Load(split, i),
                               {image.data_ptr<float>(),
                                static_cast<size_t>(image.numel())})
                        .ok());
        rows.push_back(network->Features(image).to(torch::kFloat64));
      }
      out->values = torch::cat(rows);
    }
  }
};

LabelledFeatures Take(const LabelledFeatures& from,
                      const std::vector<int64_t>& at) {
  LabelledFeatures taken;
  for (int64_t i : at) taken.labels.push_back(from.labels[i]);
  taken.values = from.values.index_select(0, torch::tensor(at));
  return taken;
}

// Class by class, by Dirichlet(alpha) shares; nobody is without a record. With
// `one_class`, the last site has only records of class 0.
std::vector<std::vector<int64_t>> Shares(const LabelledFeatures& all, int sites,
                                         double alpha, bool one_class,
                                         unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::vector<int64_t>> shares(sites);
  std::vector<std::vector<double>> weights(2, std::vector<double>(sites));
  std::gamma_distribution<double> gamma(alpha, 1);
  for (auto& of_class : weights) {
    for (double& weight : of_class) weight = gamma(random) + 1e-9;
  }
  if (one_class) weights[1].back() = 0;
  for (int64_t i = 0; i < all.count(); ++i) {
    const auto& weight = weights[all.labels[i]];
    std::discrete_distribution<int> choose(weight.begin(), weight.end());
    int site = choose(random);
    if (i < sites && !(one_class && i == sites - 1)) site = static_cast<int>(i);
    shares[site].push_back(i);
  }
  if (shares.back().empty()) {
    const auto zero = std::find(all.labels.begin(), all.labels.end(), 0);
    const int64_t at = zero - all.labels.begin();
    for (auto& share : shares) std::erase(share, at);
    shares.back().push_back(at);
  }
  return shares;
}

SolverState Federate(const Plan& plan, const LabelledFeatures& train,
                     const std::vector<std::vector<int64_t>>& shares) {
  SolverState state = InitialSolverState(plan, train.values.size(1));
  while (!state.done) {
    const SolvePoint point = NextPoint(plan, state);
    std::vector<uint64_t> words(SolveLayout(point).words());
    for (const auto& share : shares) {
      if (share.empty()) continue;
      const auto sums = SolveStatistics(point, Take(train, share), {});
      EXPECT_TRUE(sums.ok()) << sums.status();
      const auto packed =
          PackSolveSums(point, 2 * static_cast<int>(shares.size()), *sums);
      EXPECT_TRUE(packed.ok()) << packed.status();
      for (size_t i = 0; i < words.size(); ++i) words[i] += (*packed)[i];
    }
    state = *Advance(plan, state, UnpackSolveSums(point, words));
  }
  return state;
}

// The pooled fit another way: kernel logistic regression. The margin is
// m = K a + b with K = Z Z' and v = Z' a (the representer theorem), solved by
// iteratively reweighted least squares in the n + 1 unknowns (a, b):
//   (K + l D^-1) a + b 1 = m + (y - p) / d,   1' a = 0,   D = diag(p (1 - p)).
// The rows of W are -v / 2 and v / 2, so that lambda |W|^2 / 2 is
// l |v|^2 / 2 with l = lambda / 2. [2, feature_dim + 1].
Tensor PooledFit(const LabelledFeatures& train,
                 const std::vector<double>& lambdas) {
  const Tensor variance = train.values.var(0, /*unbiased=*/false);
  const Tensor z = (train.values - train.values.mean(0)) *
                   torch::where(variance > 1e-12, variance.rsqrt(),
                                torch::zeros_like(variance));
  const Tensor kernel = z.mm(z.t());
  const int64_t n = z.size(0);
  const Tensor ones = torch::ones({n}, torch::kFloat64);
  const Tensor y = torch::tensor(train.labels).to(torch::kFloat64);
  Tensor margin = torch::zeros({n}, torch::kFloat64), solution;
  for (double lambda : lambdas) {
    for (int step = 0; step < 40; ++step) {
      const Tensor p = torch::sigmoid(margin);
      const Tensor d = p * (1 - p);
      Tensor system = torch::zeros({n + 1, n + 1}, torch::kFloat64);
      system.narrow(0, 0, n).narrow(1, 0, n).copy_(kernel +
                                                   torch::diag(lambda / 2 / d));
      system.narrow(0, 0, n).select(1, n).copy_(ones);
      system.select(0, n).narrow(0, 0, n).copy_(ones);
      const Tensor target = torch::cat(
          {margin + (y - p) / d, torch::zeros({1}, torch::kFloat64)});
      solution = at::linalg_solve(system, target);
      margin = kernel.mv(solution.narrow(0, 0, n)) + solution[n];
    }
  }
  const Tensor v =
      torch::cat({z.t().mv(solution.narrow(0, 0, n)), solution[n].view(1)});
  return torch::stack({-v / 2, v / 2});
}

Plan NewtonPlan(int sites) {
  Plan plan;
  plan.classes = {"malignant", "benign"};
  plan.expected_sites = plan.quorum = sites;
  plan.solver.kind = SolverKind::kNewton;
  plan.solver.lambdas = {100, 10, 1};
  return plan;
}

TEST(ExactHeadTest, EqualsThePooledFitOnRealFeatures) {
  if (testing::DataFolder().empty()) GTEST_SKIP() << "no FEDGRAFT_DATA";
  LabelledFeatures train = BreastFeatures::Get().train;
  // Half of the 1,280 features take a quarter of the minutes.
  if (std::getenv("FEDGRAFT_LONG_TESTS") == nullptr) {
    train.values = train.values.narrow(1, 0, 640).contiguous();
  }
  const Tensor pooled = PooledFit(train, NewtonPlan(1).solver.lambdas);
  struct Case {
    int sites;
    double alpha;
    bool one_class;
  };
  for (const Case& c : std::vector<Case>{{3, 100, false},
                                         {10, 100, false},
                                         {50, 100, false},
                                         {3, 0.1, false},
                                         {10, 0.1, true},
                                         {50, 0.1, true}}) {
    const Plan plan = NewtonPlan(c.sites);
    const SolverState state =
        Federate(plan, train, Shares(train, c.sites, c.alpha, c.one_class, 5));
    std::string rounds;
    for (const SolvedHead& head : state.heads) {
      EXPECT_TRUE(head.converged);
      EXPECT_LE(head.rounds, 10u) << head.lambda;
      rounds += " " + std::to_string(head.rounds);
    }
    const Tensor w = torch::tensor(state.heads.back().weights, torch::kFloat64)
                         .view_as(pooled);
    const double difference = (w - pooled).abs().max().item<double>();
    EXPECT_LE(difference, 1e-8);
    std::printf(
        "%2d sites, Dirichlet(%g)%s: |w - pooled| %.1e, rounds by lambda:%s\n",
        c.sites, c.alpha, c.one_class ? ", one site of one class" : "",
        difference, rounds.c_str());
  }
}

TEST(ExactHeadTest, ReachesThePublishedProbeOnTheTestSplit) {
  if (testing::DataFolder().empty()) GTEST_SKIP() << "no FEDGRAFT_DATA";
  const BreastFeatures& data = BreastFeatures::Get();
  Plan plan = NewtonPlan(1);
  plan.solver.lambdas = {1000, 300, 100, 30, 10, 3, 1};
  SolverState state = InitialSolverState(plan, data.train.values.size(1));
  while (!state.done) {
    state = *Advance(
        plan, state,
        *SolveStatistics(NextPoint(plan, state), data.train, data.val));
  }
  const Tensor head =
      torch::tensor(PublishedHead(state), torch::kFloat64).view({2, -1});
  const int64_t dim = head.size(1) - 1;
  const Tensor scores =
      data.test.values.mm(head.narrow(1, 0, dim).t()) + head.select(1, dim);
  const Tensor p = torch::softmax(scores, 1).select(1, 1).to(torch::kFloat32);
  std::vector<float> positive(p.data_ptr<float>(),
                              p.data_ptr<float>() + p.numel());
  std::vector<float> copy(positive);
  auto is_positive = std::make_unique<bool[]>(positive.size());
  for (size_t i = 0; i < positive.size(); ++i) {
    is_positive[i] = data.test.labels[i] == 1;
  }
  const auto auc =
      ComputeAuc(copy, absl::MakeConstSpan(is_positive.get(), copy.size()));
  ASSERT_TRUE(auc.has_value());
  EXPECT_GE(auc->value, 0.875);
  for (const SolvedHead& tried : state.heads) {
    std::printf("lambda %5g: %u rounds, validation loss %.4f\n", tried.lambda,
                tried.rounds, tried.validation_loss / tried.validation_records);
  }
  std::printf("lambda %g chosen, test AUC %.4f\n",
              state.heads[ChosenHead(state)].lambda, auc->value);
}

}  // namespace
}  // namespace fedgraft
