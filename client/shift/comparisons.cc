#include "client/shift/comparisons.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "common/base/status_macros.h"
#include "common/shift/distributions.h"
#include "common/shift/homogeneity.h"
#include "common/shift/mmd.h"

namespace fedgraft {
namespace {

double Sum(absl::Span<const double> counts) {
  return std::accumulate(counts.begin(), counts.end(), 0.0);
}

struct Histograms {
  std::vector<double> own, others;
};

Histograms Merge(absl::Span<const double> own,
                 absl::Span<const double> others) {
  const double share =
      std::min(Sum(own), Sum(others)) / (Sum(own) + Sum(others));
  Histograms merged;
  double own_bin = 0, others_bin = 0;
  for (size_t i = 0; i < own.size(); ++i) {
    own_bin += own[i];
    others_bin += others[i];
    if ((own_bin + others_bin) * share < kExpectedMin) continue;
    merged.own.push_back(own_bin);
    merged.others.push_back(others_bin);
    own_bin = others_bin = 0;
  }
  // What is left at the end.
  if (!merged.own.empty()) {
    merged.own.back() += own_bin;
    merged.others.back() += others_bin;
  }
  return merged;
}

using RowMajor =
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Eigen::Map<const RowMajor> AsRows(const MatrixView& matrix) {
  return {matrix.values.data(), matrix.rows, matrix.columns};
}

// Sum over records of the products of deviations from their mean.
Eigen::MatrixXd Scatter(const Eigen::Map<const RowMajor>& rows,
                        const Eigen::RowVectorXd& mean) {
  const RowMajor centred = rows.rowwise() - mean;
  return centred.transpose() * centred;
}

}  // namespace

bool DoesNotApply(const absl::Status& status) {
  return absl::IsFailedPrecondition(status);
}

absl::StatusOr<ShiftResult> CompareEmbeddings(const MatrixView& embedding,
                                              absl::Span<const double> mean,
                                              double others_n) {
  if (embedding.rows < kMmdRecordsMin || !(others_n >= kMmdRecordsMin)) {
    return absl::FailedPreconditionError("too few records");
  }
  FG_ASSIGN_OR_RETURN(const EmbeddingMoments moments,
                      MomentsOfEmbedding(embedding));
  // Below, only rounding differs.
  if (!(moments.covariance_trace > 1e-12)) {
    return absl::FailedPreconditionError("all records are equal");
  }
  FG_ASSIGN_OR_RETURN(const MmdTest test, TestMmd(moments, mean, others_n));
  const double by_chance = (1 / static_cast<double>(moments.n) + 1 / others_n) *
                           moments.covariance_trace;
  FG_ASSIGN_OR_RETURN(const double p, MmdTail(moments, test, others_n));
  return ShiftResult{test.statistic / test.scale, test.dof, p,
                     std::max(test.statistic - by_chance, 0.0)};
}

absl::StatusOr<ShiftResult> CompareCounts(absl::Span<const double> own,
                                          absl::Span<const double> others) {
  if (!(Sum(own) > 0) || !(Sum(others) > 0)) {
    return absl::FailedPreconditionError("a sample has no record");
  }
  const Histograms merged = Merge(own, others);
  if (merged.own.size() < 2) {
    return absl::FailedPreconditionError("one bin holds all records");
  }
  FG_ASSIGN_OR_RETURN(const HomogeneityTest test,
                      TestHomogeneity(merged.own, merged.others));
  return ShiftResult{test.statistic, test.dof, test.p, test.effect};
}

absl::StatusOr<ShiftResult> CompareMeans(const MatrixView& own,
                                         const MatrixView& others) {
  FG_RETURN_IF_ERROR(CheckMatrix(own, "own records"));
  FG_RETURN_IF_ERROR(CheckMatrix(others, "others' records"));
  if (own.columns != others.columns) {
    return absl::InvalidArgumentError("records of two lengths");
  }
  const auto n = static_cast<double>(own.rows);
  const auto m = static_cast<double>(others.rows);
  const auto k = static_cast<double>(own.columns);
  if (own.rows < 2 || others.rows < 2 || !(n + m > k + 1)) {
    return absl::FailedPreconditionError("too few records");
  }
  const auto a = AsRows(own), b = AsRows(others);
  const Eigen::RowVectorXd mean_a = a.colwise().mean();
  const Eigen::RowVectorXd mean_b = b.colwise().mean();
  const Eigen::MatrixXd covariance =
      (Scatter(a, mean_a) + Scatter(b, mean_b)) / (n + m - 2);
  const Eigen::LDLT<Eigen::MatrixXd> ldlt(covariance);
  const Eigen::VectorXd pivots = ldlt.vectorD();
  if (ldlt.info() != Eigen::Success ||
      !(pivots.minCoeff() > 1e-8 * pivots.maxCoeff()) ||
      !(pivots.minCoeff() > 1e-15)) {
    return absl::FailedPreconditionError("the records do not vary");
  }
  const Eigen::VectorXd difference = (mean_a - mean_b).transpose();
  const double distance = std::max(difference.dot(ldlt.solve(difference)), 0.0);
  const double statistic = distance / (1 / n + 1 / m);
  const double rest = n + m - k - 1;
  const double p = FisherTail(statistic * rest / (k * (n + m - 2)), k, rest);
  return ShiftResult{statistic, k, p, std::sqrt(distance)};
}

}  // namespace fedgraft
