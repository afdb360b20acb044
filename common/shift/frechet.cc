#include "common/shift/frechet.h"

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <random>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;
using RowMajor =
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr double kNegativeTolerance = 1e-8;  // of the largest eigenvalue
constexpr double kRecordsPerFeature = 5;

struct Normal {
  VectorXd mean;
  MatrixXd covariance;
};

absl::StatusOr<Normal> NormalOf(const GaussianMoments& moments) {
  const auto d = static_cast<int64_t>(moments.mean.size());
  if (d < 1 || static_cast<int64_t>(moments.covariance.size()) != d * d ||
      !(moments.n >= 2)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "moments: expected a mean, its square of covariances and two records "
        "or more, not ",
        d, ", ", moments.covariance.size(), " and ", moments.n));
  }
  FG_RETURN_IF_ERROR(CheckMatrix({moments.covariance, d, d}, "covariance"));
  FG_RETURN_IF_ERROR(CheckMatrix({moments.mean, 1, d}, "mean"));
  return Normal{Eigen::Map<const VectorXd>(moments.mean.data(), d),
                Eigen::Map<const MatrixXd>(moments.covariance.data(), d, d)};
}

absl::StatusOr<MatrixXd> Root(const MatrixXd& covariance) {
  const Eigen::SelfAdjointEigenSolver<MatrixXd> solver(covariance);
  const VectorXd values = solver.eigenvalues();
  if (solver.info() != Eigen::Success ||
      values.minCoeff() <
          -kNegativeTolerance * std::max(values.maxCoeff(), 0.0)) {
    return absl::InvalidArgumentError("covariance: not positive semidefinite");
  }
  return MatrixXd(solver.eigenvectors() *
                  values.cwiseMax(0).cwiseSqrt().asDiagonal() *
                  solver.eigenvectors().transpose());
}

absl::StatusOr<double> Distance(const Normal& a, const Normal& b) {
  FG_ASSIGN_OR_RETURN(const MatrixXd root, Root(a.covariance));
  const MatrixXd product = root * b.covariance * root;
  const Eigen::SelfAdjointEigenSolver<MatrixXd> solver(product,
                                                       Eigen::EigenvaluesOnly);
  const double cross = solver.eigenvalues().cwiseMax(0).cwiseSqrt().sum();
  return std::max((a.mean - b.mean).squaredNorm() + a.covariance.trace() +
                      b.covariance.trace() - 2 * cross,
                  0.0);
}

// A mean and a factor F of the covariance F F'.
struct DrawnMoments {
  VectorXd mean;
  MatrixXd factor;
};

// Of draws. The roots of the eigenvalues of (Fa Fa') (Fb Fb') are the singular
// values of Fa' Fb, so that no matrix has its root taken.
double Distance(const DrawnMoments& a, const DrawnMoments& b) {
  const MatrixXd cross = a.factor.transpose() * b.factor;
  const Eigen::SelfAdjointEigenSolver<MatrixXd> solver(
      cross.transpose() * cross, Eigen::EigenvaluesOnly);
  return std::max((a.mean - b.mean).squaredNorm() + a.factor.squaredNorm() +
                      b.factor.squaredNorm() -
                      2 * solver.eigenvalues().cwiseMax(0).cwiseSqrt().sum(),
                  0.0);
}

// Moments of `n` draws: the mean is normal, and the scatter Wishart, by
// Bartlett's decomposition, so that no record is drawn.
DrawnMoments DrawMoments(const MatrixXd& lower, double n,
                         std::mt19937_64& random) {
  const int64_t d = lower.rows();
  std::normal_distribution<double> normal;
  DrawnMoments drawn;
  VectorXd mean(d);
  for (double& value : mean) value = normal(random);
  drawn.mean = lower * mean / std::sqrt(n);
  MatrixXd bartlett = MatrixXd::Zero(d, d);
  for (int64_t i = 0; i < d; ++i) {
    std::chi_squared_distribution<double> chi(n - 1 - static_cast<double>(i));
    bartlett(i, i) = std::sqrt(chi(random));
    for (int64_t j = 0; j < i; ++j) bartlett(i, j) = normal(random);
  }
  drawn.factor = lower * bartlett / std::sqrt(n - 1);
  return drawn;
}

}  // namespace

absl::StatusOr<GaussianMoments> MomentsOfRecords(const MatrixView& records) {
  FG_RETURN_IF_ERROR(CheckMatrix(records, "records"));
  if (records.rows < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("records: expected two or more, not ", records.rows));
  }
  const Eigen::Map<const RowMajor> rows(records.values.data(), records.rows,
                                        records.columns);
  const Eigen::RowVectorXd mean = rows.colwise().mean();
  const MatrixXd centred = rows.rowwise() - mean;
  const MatrixXd covariance =
      centred.transpose() * centred / static_cast<double>(records.rows - 1);
  return GaussianMoments{
      static_cast<double>(records.rows),
      std::vector<double>(mean.data(), mean.data() + mean.size()),
      std::vector<double>(covariance.data(),
                          covariance.data() + covariance.size())};
}

absl::StatusOr<double> FrechetDistance(const GaussianMoments& a,
                                       const GaussianMoments& b) {
  FG_ASSIGN_OR_RETURN(const Normal normal_a, NormalOf(a));
  FG_ASSIGN_OR_RETURN(const Normal normal_b, NormalOf(b));
  if (a.mean.size() != b.mean.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("moments: expected as many features, not ", a.mean.size(),
                     " and ", b.mean.size()));
  }
  return Distance(normal_a, normal_b);
}

absl::StatusOr<FrechetTest> TestFrechet(const GaussianMoments& site,
                                        const GaussianMoments& reference,
                                        uint64_t seed, int draws) {
  FrechetTest test;
  FG_ASSIGN_OR_RETURN(test.distance, FrechetDistance(site, reference));
  const auto d = static_cast<double>(site.mean.size());
  for (double n : {site.n, reference.n}) {
    if (n < kRecordsPerFeature * d) {
      return absl::FailedPreconditionError(absl::StrCat(
          "Frechet distance: ", n, " records of ", d, " features; expected ",
          kRecordsPerFeature, " records a feature or more"));
    }
  }
  if (draws < 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        "Frechet distance: expected two draws or more, not ", draws));
  }
  FG_ASSIGN_OR_RETURN(const Normal a, NormalOf(site));
  FG_ASSIGN_OR_RETURN(const Normal b, NormalOf(reference));
  const MatrixXd pooled =
      ((site.n - 1) * a.covariance + (reference.n - 1) * b.covariance) /
      (site.n + reference.n - 2);
  FG_ASSIGN_OR_RETURN(const MatrixXd root, Root(pooled));
  std::mt19937_64 random(seed);
  std::vector<double> null(draws);
  double mean = 0;
  int farther = 0;
  for (double& distance : null) {
    const DrawnMoments drawn_site = DrawMoments(root, site.n, random);
    distance = Distance(drawn_site, DrawMoments(root, reference.n, random));
    mean += distance / draws;
    farther += distance >= test.distance ? 1 : 0;
  }
  double variance = 0;
  for (double distance : null) {
    variance += (distance - mean) * (distance - mean) / (draws - 1);
  }
  test.debiased = test.distance - mean;
  test.z = variance > 0 ? test.debiased / std::sqrt(variance) : 0;
  test.p = (1.0 + farther) / (1.0 + draws);
  return test;
}

}  // namespace fedgraft
