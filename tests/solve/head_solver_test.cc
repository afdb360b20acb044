#include "common/solve/head_solver.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "absl/strings/str_cat.h"
#include "common/solve/solve_statistics.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/plain_statistics.h"

namespace fedgraft {
namespace {

using testing::PlainRecords;
using testing::PlainStatistics;
using Matrix = Eigen::MatrixXd;
using Vector = Eigen::VectorXd;

struct Site {
  PlainRecords train, validation;
};

// Correlated features of uneven scale, classes by a noisy linear score.
PlainRecords MakeRecords(std::mt19937& random, int count, int classes,
                         int dim) {
  std::normal_distribution<double> normal;
  std::mt19937 truth(99);
  std::vector<std::vector<double>> slopes(classes, std::vector<double>(dim));
  for (auto& row : slopes) {
    for (double& v : row) v = normal(truth) * 1.5 / std::sqrt(dim);
  }
  PlainRecords records;
  for (int i = 0; i < count; ++i) {
    std::vector<double> x(dim);
    const double common = normal(random);
    for (int j = 0; j < dim; ++j) {
      x[j] = (normal(random) + 0.5 * common) * (1 + j % 5) + j % 3;
    }
    std::vector<double> score(classes);
    for (int c = 0; c < classes; ++c) {
      score[c] = normal(random);
      for (int j = 0; j < dim; ++j)
        score[c] += slopes[c][j] * x[j] / (1 + j % 5);
    }
    records.features.push_back(x);
    records.labels.push_back(static_cast<int>(
        std::max_element(score.begin(), score.end()) - score.begin()));
  }
  return records;
}

// Splits records over sites: class by class, by Dirichlet(alpha) shares. Every
// site has a record; the last one has a single class.
std::vector<Site> Split(const PlainRecords& all, const PlainRecords& validation,
                        int sites, double alpha, std::mt19937& random) {
  std::vector<Site> split(sites);
  const int classes =
      1 + *std::max_element(all.labels.begin(), all.labels.end());
  std::vector<std::vector<double>> shares(classes);
  for (auto& share : shares) {
    std::gamma_distribution<double> gamma(alpha, 1);
    for (int k = 0; k < sites; ++k) share.push_back(gamma(random) + 1e-9);
  }
  const auto give = [](const PlainRecords& from, size_t i, PlainRecords& to) {
    to.features.push_back(from.features[i]);
    to.labels.push_back(from.labels[i]);
  };
  for (size_t i = 0; i < all.labels.size(); ++i) {
    std::vector<double> share = shares[all.labels[i]];
    if (all.labels[i] != 0) share.back() = 0;
    std::discrete_distribution<int> choose(share.begin(), share.end());
    int site = choose(random);
    if (i < static_cast<size_t>(sites) - 1) site = static_cast<int>(i);
    give(all, i, split[site].train);
  }
  for (size_t i = 0; i < validation.labels.size(); ++i) {
    give(validation, i, split[i % sites].validation);
  }
  return split;
}

Plan SolverPlan(int classes, SolverKind kind, std::vector<double> lambdas,
                int sites) {
  Plan plan;
  plan.rounds = 0;
  plan.expected_sites = plan.quorum = sites;
  for (int c = 0; c < classes; ++c) plan.classes.push_back(absl::StrCat(c));
  plan.solver.kind = kind;
  plan.solver.lambdas = std::move(lambdas);
  return plan;
}

// The way of a real run: every site's sums become ring words, the words are
// added in the order of `sites`.
SolverState Federate(const Plan& plan, const std::vector<Site>& sites) {
  SolverState state = InitialSolverState(
      plan, static_cast<int64_t>(sites[0].train.features[0].size()));
  while (!state.done) {
    const SolvePoint point = NextPoint(plan, state);
    const auto decoded = DecodeSolvePoint(EncodeSolvePoint(point));
    EXPECT_TRUE(decoded.ok()) << decoded.status();
    std::vector<uint64_t> words(SolveLayout(point).words());
    for (const Site& site : sites) {
      if (site.train.labels.empty()) continue;
      const auto sums = PlainStatistics(*decoded, site.train, site.validation);
      const auto packed =
          PackSolveSums(point, 2 * static_cast<int>(sites.size()), sums);
      EXPECT_TRUE(packed.ok()) << packed.status();
      for (size_t i = 0; i < words.size(); ++i) words[i] += (*packed)[i];
    }
    auto next = Advance(plan, state, UnpackSolveSums(point, words));
    EXPECT_TRUE(next.ok()) << next.status();
    // As the journal keeps it.
    const auto kept = DecodeSolverState(EncodeSolverState(*next));
    EXPECT_TRUE(kept.ok()) << kept.status();
    state = *kept;
  }
  return state;
}

// Features with pooled mean 0 and variance 1, and what did that.
struct Pooled {
  Matrix z;       // [n, dim]
  Matrix onehot;  // [n, classes]
  Vector mean, scale;
};
Pooled Pool(const PlainRecords& records, int classes) {
  const Eigen::Index n = static_cast<Eigen::Index>(records.labels.size());
  const Eigen::Index dim =
      static_cast<Eigen::Index>(records.features[0].size());
  Pooled pooled;
  pooled.z.resize(n, dim);
  pooled.onehot = Matrix::Zero(n, classes);
  for (Eigen::Index i = 0; i < n; ++i) {
    pooled.z.row(i) = Eigen::Map<const Vector>(records.features[i].data(), dim);
    pooled.onehot(i, records.labels[i]) = 1;
  }
  pooled.mean = pooled.z.colwise().mean();
  pooled.z.rowwise() -= pooled.mean.transpose();
  pooled.scale = (pooled.z.array().square().colwise().mean().sqrt())
                     .inverse()
                     .matrix()
                     .transpose();
  pooled.z = pooled.z * pooled.scale.asDiagonal();
  return pooled;
}

// Another way to the same optimum: the redundant C rows of W themselves, and
// gradient steps of Nesterov's accelerated method with restarts, to a gradient
// below 1e-10.
Matrix PooledSoftmax(const Pooled& pooled, double lambda) {
  const Eigen::Index n = pooled.z.rows(), dim = pooled.z.cols();
  Matrix x(n, dim + 1);
  x << pooled.z, Vector::Ones(n);
  Matrix penalty = Matrix::Constant(dim + 1, pooled.onehot.cols(), lambda);
  penalty.row(dim).setZero();
  const double lipschitz =
      0.5 * Eigen::SelfAdjointEigenSolver<Matrix>(x.transpose() * x)
                .eigenvalues()
                .maxCoeff() +
      lambda;
  Matrix w = Matrix::Zero(dim + 1, pooled.onehot.cols()), y = w;
  double momentum = 1;
  for (int step = 0; step < 2'000'000; ++step) {
    Matrix p = x * y;
    p = (p.colwise() - p.rowwise().maxCoeff()).array().exp();
    p = p.array().colwise() / p.rowwise().sum().array();
    const Matrix gradient =
        x.transpose() * (p - pooled.onehot) + penalty.cwiseProduct(y);
    if (gradient.cwiseAbs().maxCoeff() < 1e-10) break;
    const Matrix next = y - gradient / lipschitz;
    if ((gradient.cwiseProduct(next - w)).sum() > 0) momentum = 1;
    const double after = 0.5 * (1 + std::sqrt(1 + 4 * momentum * momentum));
    y = next + (momentum - 1) / after * (next - w);
    momentum = after;
    w = next;
  }
  // The intercepts' common part is free; the solver's sum to 0.
  y.row(dim).array() -= y.row(dim).mean();
  return y.transpose();  // [classes, dim + 1]
}

double LargestDifference(const SolvedHead& head, const Matrix& reference) {
  double largest = 0;
  for (Eigen::Index c = 0; c < reference.rows(); ++c) {
    for (Eigen::Index j = 0; j < reference.cols(); ++j) {
      largest = std::max(
          largest,
          std::abs(head.weights[c * reference.cols() + j] - reference(c, j)));
    }
  }
  return largest;
}

struct Case {
  int classes, sites;
  double alpha;
  unsigned seed;
};

class NewtonTest : public ::testing::TestWithParam<Case> {};

TEST_P(NewtonTest, EqualsThePooledFitInTenRounds) {
  const Case& c = GetParam();
  std::mt19937 random(c.seed);
  const int dim = 12;
  const PlainRecords all = MakeRecords(random, 400, c.classes, dim);
  const PlainRecords validation = MakeRecords(random, 60, c.classes, dim);
  const auto sites = Split(all, validation, c.sites, c.alpha, random);
  const Plan plan = SolverPlan(c.classes, SolverKind::kNewton, {1}, c.sites);
  const SolverState state = Federate(plan, sites);
  ASSERT_EQ(state.heads.size(), 1u);
  EXPECT_TRUE(state.heads[0].converged);
  EXPECT_LE(state.rounds, 10u);
  const double difference =
      LargestDifference(state.heads[0], PooledSoftmax(Pool(all, c.classes), 1));
  EXPECT_LE(difference, 1e-8) << state.rounds << " rounds";
  std::printf(
      "%d classes, %d sites, Dirichlet(%g): |w - pooled| %.1e, %u "
      "rounds\n",
      c.classes, c.sites, c.alpha, difference, state.rounds);
}

INSTANTIATE_TEST_SUITE_P(Splits, NewtonTest,
                         ::testing::Values(Case{2, 1, 1, 1}, Case{2, 3, 10, 2},
                                           Case{2, 10, 0.1, 3},
                                           Case{2, 50, 0.1, 4},
                                           Case{3, 3, 0.1, 5},
                                           Case{5, 10, 0.1, 6}));

TEST(HeadSolverTest, QuasiNewtonEqualsThePooledFit) {
  // 4 x 601 variables: above the Newton limit.
  std::mt19937 random(7);
  const int classes = 5, dim = 600;
  const PlainRecords all = MakeRecords(random, 500, classes, dim);
  const auto sites = Split(all, {}, 3, 1, random);
  Plan plan = SolverPlan(classes, SolverKind::kNewton, {10}, 3);
  plan.solver.tolerance = 1e-9;
  const SolverState state = Federate(plan, sites);
  ASSERT_TRUE(state.heads[0].converged) << state.heads[0].gradient_max;
  const double difference =
      LargestDifference(state.heads[0], PooledSoftmax(Pool(all, classes), 10));
  EXPECT_LE(difference, 1e-8);
  EXPECT_LE(state.rounds, 80u);
  std::printf("5 classes x 600 features: |w - pooled| %.1e, %u rounds\n",
              difference, state.rounds);
}

TEST(HeadSolverTest, RidgeEqualsTheNormalEquations) {
  std::mt19937 random(8);
  const int classes = 3, dim = 15;
  const PlainRecords all = MakeRecords(random, 200, classes, dim);
  const auto sites = Split(all, {}, 4, 0.5, random);
  const Plan plan = SolverPlan(classes, SolverKind::kRidge, {2}, 4);
  const SolverState state = Federate(plan, sites);
  const Pooled pooled = Pool(all, classes);
  Matrix x(pooled.z.rows(), dim + 1);
  x << pooled.z, Vector::Ones(pooled.z.rows());
  Matrix normal = x.transpose() * x;
  for (int j = 0; j < dim; ++j) normal(j, j) += 2;
  const Matrix w =
      normal.fullPivLu().solve(x.transpose() * pooled.onehot).transpose();
  EXPECT_LE(LargestDifference(state.heads[0], w), 1e-8);
  EXPECT_EQ(state.rounds, 2u);
  const Matrix residual = x * w.transpose() - pooled.onehot;
  EXPECT_NEAR(state.heads[0].objective,
              0.5 * residual.squaredNorm() + w.leftCols(dim).squaredNorm(),
              1e-6);
}

TEST(HeadSolverTest, PublishedHeadUndoesTheNormalisation) {
  std::mt19937 random(9);
  const PlainRecords all = MakeRecords(random, 150, 3, 6);
  const auto sites = Split(all, {}, 2, 1, random);
  const Plan plan = SolverPlan(3, SolverKind::kNewton, {1}, 2);
  const SolverState state = Federate(plan, sites);
  const std::vector<double> head = PublishedHead(state);
  const Pooled pooled = Pool(all, 3);
  for (int i = 0; i < 20; ++i) {
    for (int c = 0; c < 3; ++c) {
      double plain = head[c * 7 + 6], normalised = 0;
      for (int j = 0; j < 6; ++j) {
        plain += head[c * 7 + j] * all.features[i][j];
        normalised += state.heads[0].weights[c * 7 + j] * pooled.z(i, j);
      }
      normalised += state.heads[0].weights[c * 7 + 6];
      EXPECT_NEAR(plain, normalised, 1e-9);
    }
  }
}

TEST(HeadSolverTest, PathIsWarmStartedAndChosenByValidationLoss) {
  std::mt19937 random(10);
  const PlainRecords all = MakeRecords(random, 120, 2, 20);
  const PlainRecords validation = MakeRecords(random, 200, 2, 20);
  const auto sites = Split(all, validation, 3, 1, random);
  const std::vector<double> lambdas = {1000, 100, 10, 1, 0.1};
  const Plan plan = SolverPlan(2, SolverKind::kNewton, lambdas, 3);
  const SolverState state = Federate(plan, sites);
  ASSERT_EQ(state.heads.size(), lambdas.size());
  double least = 1e300;
  for (size_t i = 0; i < lambdas.size(); ++i) {
    EXPECT_TRUE(state.heads[i].converged) << lambdas[i];
    EXPECT_EQ(state.heads[i].validation_records, 200);
    least = std::min(least, state.heads[i].validation_loss);
    // The same solution as without the path.
    const SolverState alone =
        Federate(SolverPlan(2, SolverKind::kNewton, {lambdas[i]}, 3), sites);
    for (size_t k = 0; k < alone.heads[0].weights.size(); ++k) {
      EXPECT_NEAR(state.heads[i].weights[k], alone.heads[0].weights[k], 1e-8);
    }
    if (i > 0) {
      EXPECT_LE(state.heads[i].rounds, alone.rounds);
    }
  }
  EXPECT_EQ(state.heads[ChosenHead(state)].validation_loss, least);
  // Neither the strongest nor the weakest: the choice is a real one here.
  EXPECT_GT(ChosenHead(state), 0u);
  EXPECT_LT(ChosenHead(state), lambdas.size() - 1);
}

TEST(HeadSolverTest, RidgeAlsoValidatesItsCandidates) {
  std::mt19937 random(11);
  const PlainRecords all = MakeRecords(random, 60, 2, 30);
  const PlainRecords validation = MakeRecords(random, 200, 2, 30);
  const auto sites = Split(all, validation, 3, 1, random);
  const Plan plan = SolverPlan(2, SolverKind::kRidge, {1e4, 30, 1e-3}, 3);
  const SolverState state = Federate(plan, sites);
  EXPECT_EQ(state.rounds, 3u);
  EXPECT_EQ(ChosenHead(state), 1u);
}

TEST(HeadSolverTest, OrderOfSitesChangesNoBit) {
  std::mt19937 random(12);
  const PlainRecords all = MakeRecords(random, 200, 3, 8);
  auto sites = Split(all, {}, 7, 0.3, random);
  const Plan plan = SolverPlan(3, SolverKind::kNewton, {1}, 7);
  const Bytes before = EncodeSolverState(Federate(plan, sites));
  std::shuffle(sites.begin(), sites.end(), random);
  EXPECT_EQ(EncodeSolverState(Federate(plan, sites)), before);
}

TEST(HeadSolverTest, ConstantFeatureIsSwitchedOff) {
  std::mt19937 random(13);
  PlainRecords all = MakeRecords(random, 100, 2, 5);
  for (auto& row : all.features) row[2] = 3.25;
  const auto sites = Split(all, {}, 2, 1, random);
  const SolverState state =
      Federate(SolverPlan(2, SolverKind::kNewton, {1}, 2), sites);
  EXPECT_EQ(state.scale[2], 0);
  EXPECT_TRUE(state.heads[0].converged);
  EXPECT_EQ(PublishedHead(state)[2], 0);
}

TEST(HeadSolverTest, SeparableClassesConvergeByThePenalty) {
  // Classes far apart: whole Newton steps overshoot, the line search holds.
  PlainRecords all;
  for (int i = 0; i < 40; ++i) {
    all.features.push_back({i % 2 == 0 ? -50.0 - i : 50.0 + i, i * 0.1});
    all.labels.push_back(i % 2);
  }
  const std::vector<Site> sites = {{all, {}}};
  const SolverState state =
      Federate(SolverPlan(2, SolverKind::kNewton, {1e-6}, 1), sites);
  EXPECT_TRUE(state.heads[0].converged) << state.heads[0].gradient_max;
}

// With more features than records the objective is of the order of lambda, and
// the grid of six sites' losses is coarser than what the last steps gain.
TEST(HeadSolverTest, GridOfTheLossHoldsUpNoStep) {
  std::mt19937 random(17);
  const PlainRecords train = MakeRecords(random, 40, 2, 200);
  const std::vector<Site> sites = Split(train, {}, 6, 100, random);
  for (double smallest : {1.0, 0.1, 0.01}) {
    const SolverState state = Federate(
        SolverPlan(2, SolverKind::kNewton, {100, 10, 1, smallest}, 6), sites);
    for (const SolvedHead& head : state.heads) {
      EXPECT_TRUE(head.converged) << head.lambda;
      EXPECT_LE(head.rounds, 12u) << head.lambda;
    }
  }
}

TEST(HeadSolverTest, AChangedCohortStartsTheSearchAnew) {
  std::mt19937 random(14);
  const PlainRecords all = MakeRecords(random, 300, 2, 6);
  auto sites = Split(all, {}, 3, 10, random);
  const Plan plan = SolverPlan(2, SolverKind::kNewton, {1}, 3);
  SolverState state = InitialSolverState(plan, 6);
  for (int round = 0; !state.done; ++round) {
    ASSERT_LT(round, 30);
    const SolvePoint point = NextPoint(plan, state);
    std::vector<double> total(SolveLayout(point).count());
    // The first site is away from the third round on.
    for (size_t k = round < 3 ? 0 : 1; k < sites.size(); ++k) {
      const auto sums = PlainStatistics(point, sites[k].train, {});
      for (size_t i = 0; i < sums.size(); ++i) total[i] += sums[i];
    }
    state = *Advance(plan, state, total);
  }
  EXPECT_TRUE(state.heads[0].converged);
}

TEST(HeadSolverTest, LimitOfRoundsEndsItHonestly) {
  std::mt19937 random(15);
  const auto sites = Split(MakeRecords(random, 100, 2, 5), {}, 2, 1, random);
  Plan plan = SolverPlan(2, SolverKind::kNewton, {10, 1}, 2);
  plan.solver.rounds_max = 3;
  const SolverState state = Federate(plan, sites);
  EXPECT_EQ(state.rounds, 3u);
  ASSERT_EQ(state.heads.size(), 2u);
  EXPECT_FALSE(state.heads[1].converged);
  EXPECT_GT(state.heads[1].gradient_max, plan.solver.tolerance);
}

TEST(HeadSolverTest, SumsThatDoNotFitChangeNothing) {
  const Plan plan = SolverPlan(2, SolverKind::kNewton, {1}, 2);
  const SolverState state = InitialSolverState(plan, 3);
  const int64_t count = SolveLayout(NextPoint(plan, state)).count();
  EXPECT_TRUE(absl::IsInvalidArgument(
      Advance(plan, state, std::vector<double>(count + 1)).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      Advance(plan, state, std::vector<double>(count)).status()));
}

}  // namespace
}  // namespace fedgraft
