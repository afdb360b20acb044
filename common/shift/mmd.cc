#include "common/shift/mmd.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/numeric/dense_products.h"
#include "common/shift/distributions.h"

namespace fedgraft {
namespace {

double Dot(absl::Span<const double> a, absl::Span<const double> b) {
  const auto size = static_cast<int64_t>(a.size());
  return Eigen::Map<const Eigen::VectorXd>(a.data(), size)
      .dot(Eigen::Map<const Eigen::VectorXd>(b.data(), size));
}

}  // namespace

absl::StatusOr<EmbeddingMoments> MomentsOfEmbedding(const MatrixView& mapped) {
  FG_RETURN_IF_ERROR(CheckMatrix(mapped, "embedding"));
  if (mapped.rows < kMmdRecordsMin) {
    return absl::InvalidArgumentError(
        absl::StrCat("embedding: expected ", kMmdRecordsMin,
                     " records or more, not ", mapped.rows));
  }
  using Matrix =
      Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Eigen::Map<const Matrix> rows(mapped.values.data(), mapped.rows,
                                      mapped.columns);
  Eigen::RowVectorXd mean = Eigen::RowVectorXd::Zero(mapped.columns);
  for (int64_t r = 0; r < mapped.rows; ++r) mean += rows.row(r);
  mean /= static_cast<double>(mapped.rows);
  // Traces of powers of C from the smaller of the two products, which is
  // symmetric, so that its square is its product with itself, too.
  const bool is_wide = mapped.rows < mapped.columns;
  const int64_t size = is_wide ? mapped.rows : mapped.columns;
  std::vector<double> product;
  if (is_wide) {
    const Matrix centred = (rows.rowwise() - mean).transpose();
    product = SelfProduct({centred.data(), static_cast<size_t>(centred.size())},
                          centred.rows(), size);
  } else {
    // No copy of the rows: values are of the order of their deviations.
    product = SelfProduct(mapped.values, mapped.rows, size);
    Eigen::Map<Matrix>(product.data(), size, size).noalias() -=
        static_cast<double>(mapped.rows) * mean.transpose() * mean;
  }
  const double square = Dot(product, product);
  const double cube = Dot(SelfProduct(product, size, size), product);
  const auto n = static_cast<double>(mapped.rows);
  EmbeddingMoments moments;
  moments.n = mapped.rows;
  moments.mean.assign(mean.data(), mean.data() + mean.size());
  double trace = 0;
  for (int64_t i = 0; i < size; ++i) trace += product[i * (size + 1)];
  moments.covariance_trace = trace / (n - 1);
  const double biased = square / ((n - 1) * (n - 1));
  const double trace2 = moments.covariance_trace * moments.covariance_trace;
  moments.covariance_square =
      (n - 1) * (n - 1) / ((n - 2) * (n + 1)) * (biased - trace2 / (n - 1));
  // E tr W^3 of a Wishart matrix W of v = n - 1 degrees of freedom, solved for
  // the covariance's.
  const double v = n - 1;
  const double t = moments.covariance_trace;
  moments.covariance_cube =
      (cube - 3 * v * (v + 1) * t * moments.covariance_square - v * t * t * t) /
      (v * (v * v + 3 * v + 4));
  return moments;
}

absl::StatusOr<MmdTest> TestMmd(const EmbeddingMoments& sample,
                                absl::Span<const double> reference_mean,
                                double reference_n) {
  if (reference_mean.size() != sample.mean.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("reference: expected ", sample.mean.size(),
                     " random features, not ", reference_mean.size()));
  }
  if (!(reference_n >= 2)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "reference: expected two records or more, not ", reference_n));
  }
  for (double value : reference_mean) {
    if (!std::isfinite(value)) {
      return absl::InvalidArgumentError("reference: a mean is not finite");
    }
  }
  const double t = sample.covariance_trace;
  if (!(t > 0)) {
    return absl::FailedPreconditionError(
        "sample: its records are all equal, so that chance cannot be judged");
  }
  const auto n = static_cast<double>(sample.n);
  const double m = reference_n;
  const double own = Dot(sample.mean, sample.mean);
  const double other = Dot(reference_mean, reference_mean);
  const double cross = Dot(sample.mean, reference_mean);
  MmdTest test;
  test.statistic = std::max(own + other - 2 * cross, 0.0);
  test.mmd2 = (n * own - 1) / (n - 1) + (m * other - 1) / (m - 1) - 2 * cross;
  // tr C^2 is at least t^2 / D and at most t^2 whatever chance made of it.
  const auto size = static_cast<double>(sample.mean.size());
  const double f = std::clamp(sample.covariance_square, t * t / size, t * t);
  test.scale = (1 / n + 1 / m) * f / t;
  test.dof = t * t / f;
  test.p = ChiSquareTail(test.statistic / test.scale, test.dof);
  return test;
}

absl::StatusOr<double> MmdTail(const EmbeddingMoments& sample,
                               const MmdTest& test, double reference_n) {
  const double t1 = sample.covariance_trace;
  const double s = 1 / static_cast<double>(sample.n) + 1 / reference_n;
  const double t2 = test.scale * t1 / s;
  if (!(t1 > 0) || !(t2 > 0) || !(s > 0)) {
    return absl::FailedPreconditionError(
        "sample: its records are all equal, so that chance cannot be judged");
  }
  // Between what Cauchy and Schwarz allow, whatever chance made of it.
  const double t3 =
      std::clamp(sample.covariance_cube, t2 * t2 / t1, t2 * std::sqrt(t2));
  const double scale = t3 / t2;
  const double dof = t2 * t2 * t2 / (t3 * t3);
  const double x = (test.statistic / s - t1) / scale + dof;
  return x > 0 ? ChiSquareTail(x, dof) : 1.0;
}

absl::StatusOr<std::vector<double>> LeaveOneOutMean(
    absl::Span<const double> pooled_mean, double pooled_n,
    absl::Span<const double> own_mean, double own_n) {
  if (pooled_mean.size() != own_mean.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("pooled mean: expected ", own_mean.size(),
                     " numbers, not ", pooled_mean.size()));
  }
  const double rest = pooled_n - own_n;
  if (!(own_n >= 0) || !(rest >= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("pooled mean: expected records besides the site's ", own_n,
                     " of ", pooled_n));
  }
  std::vector<double> mean(own_mean.size());
  for (size_t i = 0; i < mean.size(); ++i) {
    mean[i] = (pooled_n * pooled_mean[i] - own_n * own_mean[i]) / rest;
  }
  return mean;
}

}  // namespace fedgraft
