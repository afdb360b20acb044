#include "common/transfer/transferability.h"

#include <Eigen/Dense>
#include <cmath>
#include <numbers>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/transfer/golden.h"
#include "tests/transfer/random_matrix.h"

namespace fedgraft {
namespace {

using testing::IsError;
using testing::IsOk;
using testing::OwnedMatrix;
using testing::RandomMatrix;

FeatureMoments MomentsOf(const MatrixView& records,
                         absl::Span<const int64_t> labels, int classes) {
  FeatureMoments moments(
      *FeatureMomentsLayout::Create(records.columns, classes));
  EXPECT_THAT(moments.Add(records, labels), IsOk());
  return moments;
}

struct Problem {
  OwnedMatrix records;
  std::vector<int64_t> labels;
  int classes = 0;

  FeatureMoments Moments() const {
    return MomentsOf(records.View(), labels, classes);
  }
  Eigen::MatrixXd Matrix() const {
    return Eigen::Map<const Eigen::MatrixXd>(records.values.data(),
                                             records.columns, records.rows)
        .transpose();
  }
};

// Features that tell the classes apart by `signal` in feature c.
Problem MakeProblem(int64_t n, int64_t d, int classes, double signal,
                    uint64_t seed = 1) {
  Problem problem{RandomMatrix(n, d, seed, 0.5), {}, classes};
  for (int64_t i = 0; i < n; ++i) {
    problem.labels.push_back(i * i % classes);
    problem.records.At(i, problem.labels[i] % d) += signal;
  }
  return problem;
}

// LogME as published, from the records: singular values of F, residuals of
// every record.
double LogMeOfRecords(const Problem& problem) {
  const Eigen::MatrixXd f = problem.Matrix();
  const Eigen::JacobiSVD<Eigen::MatrixXd> svd(
      f, Eigen::ComputeThinU | Eigen::ComputeThinV);
  const auto n = static_cast<double>(f.rows());
  const auto d = static_cast<double>(f.cols());
  const Eigen::VectorXd singular = svd.singularValues();
  Eigen::VectorXd squares = Eigen::VectorXd::Zero(f.cols());
  squares.head(singular.size()) = singular.array().square();
  double sum = 0;
  int present = 0;
  for (int c = 0; c < problem.classes; ++c) {
    Eigen::VectorXd y(f.rows());
    for (int64_t i = 0; i < f.rows(); ++i) y[i] = problem.labels[i] == c;
    if (y.sum() == 0) continue;
    ++present;
    double alpha = 1, beta = 1, residual = 0, weights = 0;
    for (int step = 0; step < 11; ++step) {
      const double ratio = alpha / beta;
      const double gamma = (squares.array() / (squares.array() + ratio)).sum();
      const Eigen::VectorXd shrunk =
          (singular.array() * beta / (alpha + beta * singular.array().square()))
              .matrix()
              .cwiseProduct(svd.matrixU().transpose() * y);
      const Eigen::VectorXd m = svd.matrixV() * shrunk;
      weights = m.squaredNorm();
      residual = (y - f * m).squaredNorm();
      alpha = gamma / weights;
      beta = (n - gamma) / residual;
      if (std::abs(alpha / beta - ratio) / ratio < 0.01) break;
    }
    sum += (d / 2 * std::log(alpha) + n / 2 * std::log(beta) -
            0.5 * (alpha + beta * squares.array()).log().sum() -
            beta / 2 * residual - alpha / 2 * weights -
            n / 2 * std::log(2 * std::numbers::pi)) /
           n;
  }
  return sum / present;
}

// H-score as published: covariances of features and of their class means.
struct DirectHScore {
  double plain, shrunk, shrinkage;
};
DirectHScore HScoreOfRecords(const Problem& problem) {
  Eigen::MatrixXd f = problem.Matrix();
  const auto n = static_cast<double>(f.rows());
  const Eigen::RowVectorXd mean = f.colwise().mean();
  f.rowwise() -= mean;
  Eigen::MatrixXd means = Eigen::MatrixXd::Zero(f.rows(), f.cols());
  for (int64_t i = 0; i < f.rows(); ++i) {
    double count = 0;
    for (int64_t k = 0; k < f.rows(); ++k) {
      if (problem.labels[k] != problem.labels[i]) continue;
      means.row(i) += f.row(k);
      ++count;
    }
    means.row(i) /= count;
  }
  const Eigen::MatrixXd covariance = f.transpose() * f / n;
  const Eigen::MatrixXd between = means.transpose() * means / n;
  const double target = covariance.trace() / static_cast<double>(f.cols());
  const Eigen::MatrixXd identity =
      Eigen::MatrixXd::Identity(f.cols(), f.cols());
  double error = 0;
  for (int64_t i = 0; i < f.rows(); ++i) {
    error += (f.row(i).transpose() * f.row(i) - covariance).squaredNorm();
  }
  const double distance = (covariance - target * identity).squaredNorm();
  const double shrinkage = std::min(error / n / n / distance, 1.0);
  const Eigen::MatrixXd shrunk =
      (1 - shrinkage) * covariance + shrinkage * target * identity;
  return {
      (covariance.completeOrthogonalDecomposition().pseudoInverse() * between)
          .trace(),
      (1 - shrinkage) * (shrunk.inverse() * between).trace(), shrinkage};
}

TEST(TransferabilityTest, AgreesWithTheReferenceSet) {
  const FeatureMoments moments =
      MomentsOf({testing::kGoldenX, testing::kGoldenRecords, 3},
                testing::kGoldenLabels, 3);
  const auto log_me = LogMe(moments);
  ASSERT_THAT(log_me, IsOk());
  EXPECT_NEAR(*log_me, testing::kGoldenLogMe, 1e-12);
  const auto h_score = ComputeHScore(moments);
  ASSERT_THAT(h_score, IsOk());
  EXPECT_NEAR(h_score->plain, testing::kGoldenHScore, 1e-12);
}

TEST(TransferabilityTest, SumsGiveWhatRecordsGive) {
  for (auto [n, d, classes] : {std::tuple<int64_t, int64_t, int>{60, 5, 2},
                               {200, 20, 4},
                               {30, 29, 3},
                               // Fewer records than features.
                               {30, 31, 3},
                               {25, 80, 2}}) {
    SCOPED_TRACE(n);
    const Problem problem = MakeProblem(n, d, classes, 0.8, n + d);
    const auto log_me = LogMe(problem.Moments());
    ASSERT_THAT(log_me, IsOk());
    EXPECT_NEAR(*log_me, LogMeOfRecords(problem), 1e-8);
    const auto h_score = ComputeHScore(problem.Moments());
    ASSERT_THAT(h_score, IsOk());
    const DirectHScore direct = HScoreOfRecords(problem);
    EXPECT_NEAR(h_score->plain, direct.plain, 1e-8);
    EXPECT_NEAR(h_score->shrunk, direct.shrunk, 1e-8);
    EXPECT_NEAR(h_score->shrinkage, direct.shrinkage, 1e-10);
  }
}

// The same without the sums that only the shrunk score needs.
TEST(TransferabilityTest, WithoutNormsAllButTheShrunkScoreIsTold) {
  const FeatureMoments whole = MakeProblem(60, 5, 3, 1).Moments();
  const auto bare = FeatureMoments::WithoutNorms(
      whole.layout(), {whole.sums().begin(), whole.sums().end()});
  ASSERT_THAT(bare, IsOk());
  EXPECT_EQ(bare->fourth_powers(), 0);
  EXPECT_EQ(*LogMe(*bare), *LogMe(whole));
  EXPECT_EQ(*PlainHScore(*bare), ComputeHScore(whole)->plain);
  constexpr auto kFailed = absl::StatusCode::kFailedPrecondition;
  EXPECT_THAT(ComputeHScore(*bare), IsError(kFailed, "norms"));
}

TEST(TransferabilityTest, EffectiveDimensionCountsDirections) {
  // Variances 4, 1, 1 along the axes: (4 + 1 + 1)² / (16 + 1 + 1) = 2.
  const std::vector<double> axes = {2,  1, 1, 2,  -1, -1, 2,  1, -1, 2,  -1, 1,
                                    -2, 1, 1, -2, -1, -1, -2, 1, -1, -2, -1, 1};
  const std::vector<int64_t> unlabelled(8, -1);
  EXPECT_NEAR(*EffectiveDimension(MomentsOf({axes, 8, 3}, unlabelled, 2)), 2,
              1e-12);
  // Far from the origin, on a line.
  std::vector<double> line;
  for (int i = 0; i < 8; ++i) {
    for (double slope : {1.0, 2.0, -3.0}) line.push_back(100 + slope * i);
  }
  EXPECT_NEAR(*EffectiveDimension(MomentsOf({line, 8, 3}, unlabelled, 2)), 1,
              1e-9);
  const std::vector<double> constant(24, 0.1);
  EXPECT_THAT(EffectiveDimension(MomentsOf({constant, 8, 3}, unlabelled, 2)),
              IsError(absl::StatusCode::kFailedPrecondition, "do not vary"));
}

TEST(TransferabilityTest, RanksFeaturesByWhatTheyTell) {
  double last_log_me = -INFINITY, last_h_score = -INFINITY, last_shrunk = -1;
  for (double signal : {0.0, 0.7, 2.0, 6.0}) {
    const FeatureMoments moments = MakeProblem(150, 6, 2, signal).Moments();
    const HScore h_score = *ComputeHScore(moments);
    EXPECT_GT(*LogMe(moments), last_log_me);
    EXPECT_GT(h_score.plain, last_h_score);
    EXPECT_GT(h_score.shrunk, last_shrunk);
    EXPECT_LE(h_score.plain, 1);
    last_log_me = *LogMe(moments);
    last_h_score = h_score.plain;
    last_shrunk = h_score.shrunk;
  }
}

// The plain score's weakness, which the shrunk one does not share.
TEST(TransferabilityTest, WithFewRecordsOnlyTheShrunkHScoreSeesNoise) {
  const FeatureMoments noise = MakeProblem(40, 100, 2, 0).Moments();
  const FeatureMoments signal = MakeProblem(40, 100, 2, 6).Moments();
  EXPECT_NEAR(ComputeHScore(noise)->plain, 1, 1e-6);
  EXPECT_NEAR(ComputeHScore(signal)->plain, 1, 1e-6);
  EXPECT_LT(ComputeHScore(noise)->shrunk, ComputeHScore(signal)->shrunk - 0.1);
}

TEST(TransferabilityTest, SurvivesFeaturesWithoutInformation) {
  // A feature twice, one that is always 0, and one that is constant.
  Problem problem = MakeProblem(50, 6, 2, 1);
  const double log_me = *LogMe(problem.Moments());
  for (int64_t i = 0; i < 50; ++i) {
    problem.records.At(i, 3) = problem.records.At(i, 2);
    problem.records.At(i, 4) = 0;
    problem.records.At(i, 5) = 0.3;
  }
  EXPECT_NEAR(*LogMe(problem.Moments()), LogMeOfRecords(problem), 1e-8);
  EXPECT_NE(*LogMe(problem.Moments()), log_me);
  EXPECT_NEAR(ComputeHScore(problem.Moments())->plain,
              HScoreOfRecords(problem).plain, 1e-8);
}

TEST(TransferabilityTest, AClassWithoutRecordsDoesNotCount) {
  Problem problem = MakeProblem(50, 4, 2, 1);
  const double two = *LogMe(problem.Moments());
  problem.classes = 5;
  EXPECT_EQ(*LogMe(problem.Moments()), two);
  EXPECT_TRUE(std::isfinite(ComputeHScore(problem.Moments())->shrunk));
}

TEST(TransferabilityTest, EdgesStayFinite) {
  // Labels that are a feature themselves.
  Problem perfect = MakeProblem(30, 2, 2, 0);
  for (int64_t i = 0; i < 30; ++i) {
    perfect.records.At(i, 0) = static_cast<double>(perfect.labels[i]);
    perfect.records.At(i, 1) = 1 - perfect.records.At(i, 0);
  }
  const auto best = LogMe(perfect.Moments());
  ASSERT_THAT(best, IsOk());
  EXPECT_TRUE(std::isfinite(*best));
  EXPECT_GT(*best, *LogMe(MakeProblem(30, 2, 2, 6).Moments()));
  // Features that are all 0: the evidence of β alone, by class.
  Problem nothing = MakeProblem(30, 2, 2, 0);
  for (double& value : nothing.records.values) value = 0;
  double expected = 0;
  for (int c = 0; c < 2; ++c) {
    const double share = nothing.Moments().class_count(c) / 30;
    expected += -0.25 * (1 + std::log(2 * std::numbers::pi * share));
  }
  EXPECT_NEAR(*LogMe(nothing.Moments()), expected, 1e-12);
  EXPECT_THAT(ComputeHScore(nothing.Moments()),
              IsError(absl::StatusCode::kFailedPrecondition, "do not vary"));
}

TEST(TransferabilityTest, RefusesRecordsWithoutLabelOrSecondClass) {
  Problem problem = MakeProblem(10, 2, 2, 1);
  constexpr auto kFailed = absl::StatusCode::kFailedPrecondition;
  problem.labels[3] = -1;
  EXPECT_THAT(LogMe(problem.Moments()),
              IsError(kFailed, "9 of 10 records have a label"));
  EXPECT_THAT(ComputeHScore(problem.Moments()), IsError(kFailed, "9 of 10"));
  for (int64_t& label : problem.labels) label = 1;
  EXPECT_THAT(LogMe(problem.Moments()),
              IsError(kFailed, "at least 2 classes, not of 1"));
  EXPECT_THAT(ComputeHScore(problem.Moments()),
              IsError(kFailed, "at least 2 classes"));
}

}  // namespace
}  // namespace fedgraft
