#include "common/shift/importance.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {

absl::StatusOr<std::vector<double>> KernelValues(const MatrixView& records,
                                                 const MatrixView& centers,
                                                 double bandwidth) {
  FG_RETURN_IF_ERROR(CheckMatrix(records, "records"));
  FG_RETURN_IF_ERROR(CheckMatrix(centers, "centers"));
  if (records.columns != centers.columns || !(bandwidth > 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("kernel: expected centers of ", records.columns,
                     " features and a bandwidth above 0, not ", centers.columns,
                     " and ", bandwidth));
  }
  std::vector<double> values(records.rows * centers.rows);
  for (int64_t r = 0; r < records.rows; ++r) {
    for (int64_t c = 0; c < centers.rows; ++c) {
      double square = 0;
      for (int64_t i = 0; i < records.columns; ++i) {
        const double d = records.Row(r)[i] - centers.Row(c)[i];
        square += d * d;
      }
      values[r * centers.rows + c] =
          std::exp(-square / (2 * bandwidth * bandwidth));
    }
  }
  return values;
}

absl::StatusOr<ImportanceWeights> FitImportance(
    const MatrixView& source_kernel, absl::Span<const double> target_mean,
    double lambda, double flattening) {
  FG_RETURN_IF_ERROR(CheckMatrix(source_kernel, "kernel values"));
  const int64_t b = source_kernel.columns;
  if (static_cast<int64_t>(target_mean.size()) != b || source_kernel.rows < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("importance: expected a target mean of ", b,
                     " kernel values and a source record, not ",
                     target_mean.size(), " and ", source_kernel.rows));
  }
  if (!(lambda > 0) || !(flattening >= 0 && flattening <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "importance: expected lambda above 0 and a flattening of 0 to 1, not ",
        lambda, " and ", flattening));
  }
  using RowMajor =
      Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Eigen::Map<const RowMajor> kernel(source_kernel.values.data(),
                                          source_kernel.rows, b);
  const auto n = static_cast<double>(source_kernel.rows);
  Eigen::MatrixXd h = kernel.transpose() * kernel / n;
  h.diagonal().array() += lambda;
  const Eigen::VectorXd coefficients =
      h.ldlt()
          .solve(Eigen::Map<const Eigen::VectorXd>(target_mean.data(), b))
          .cwiseMax(0);
  Eigen::VectorXd weights =
      (kernel * coefficients).array().pow(flattening).min(kWeightMax);
  const double mean = weights.mean();
  if (!(mean > 0)) {
    return absl::FailedPreconditionError(
        "importance: no source record lies near the target");
  }
  weights /= mean;
  ImportanceWeights result;
  result.coefficients.assign(coefficients.data(), coefficients.data() + b);
  result.weights.assign(weights.data(), weights.data() + weights.size());
  result.effective_size = n * n / weights.squaredNorm();
  if (!(result.effective_size >= kEffectiveShareMin * n)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "importance: the weights are worth ", result.effective_size, " of ", n,
        " records; expected ", kEffectiveShareMin * n,
        " or more (flatten them, or do not weight)"));
  }
  return result;
}

absl::StatusOr<RecordImportance> FitEmbeddingImportance(
    const MatrixView& embedding, absl::Span<const double> target_mean,
    double lambda, double flattening) {
  FG_RETURN_IF_ERROR(CheckMatrix(embedding, "embedding"));
  const int64_t size = embedding.columns;
  if (static_cast<int64_t>(target_mean.size()) != size || embedding.rows < 1 ||
      !(lambda > 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("importance: expected a source record, a target mean of ",
                     size, " numbers and lambda above 0, not ", embedding.rows,
                     ", ", target_mean.size(), " and ", lambda));
  }
  using RowMajor =
      Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Eigen::Map<const RowMajor> phi(embedding.values.data(), embedding.rows,
                                       size);
  const Eigen::Map<const Eigen::VectorXd> target(target_mean.data(), size);
  if (!target.allFinite()) {
    return absl::InvalidArgumentError("importance: a target mean not finite");
  }
  const Eigen::VectorXd mean = phi.colwise().mean().transpose();
  const RowMajor centred = phi.rowwise() - mean.transpose();
  Eigen::MatrixXd covariance =
      centred.transpose() * centred / static_cast<double>(embedding.rows);
  covariance.diagonal().array() += lambda;
  const Eigen::VectorXd slope = covariance.ldlt().solve(target - mean);
  const Eigen::VectorXd weights =
      ((centred * slope).array() + 1).max(0).matrix();
  return NormalizeImportance({weights.begin(), weights.end()}, flattening);
}

absl::StatusOr<RecordImportance> NormalizeImportance(
    std::vector<double> weights, double flattening) {
  if (!(flattening > 0 && flattening <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "importance: expected a flattening above 0 to 1, not ", flattening));
  }
  RecordImportance result;
  double sum = 0, squares = 0;
  for (double& weight : weights) {
    if (!(weight >= 0) || !std::isfinite(weight)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "importance: expected weights of 0 or more, not ", weight));
    }
    weight = std::min(std::pow(weight, flattening), kWeightMax);
    sum += weight;
    squares += weight * weight;
  }
  if (!(sum > 0)) {
    return absl::FailedPreconditionError(
        "importance: no source record lies near the target");
  }
  const auto n = static_cast<double>(weights.size());
  for (double& weight : weights) weight *= n / sum;
  result.weights = std::move(weights);
  result.share = sum * sum / (n * squares);
  return result;
}

}  // namespace fedgraft
