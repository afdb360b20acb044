#include "common/shift/importance.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

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

}  // namespace fedgraft
