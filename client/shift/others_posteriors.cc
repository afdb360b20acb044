#include "client/shift/others_posteriors.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "common/base/status_macros.h"
#include "common/shift/logistic_sample.h"

namespace fedgraft {

absl::StatusOr<OthersPosteriors> JudgeByHead(const MatrixView& features,
                                             const ReferenceHead& head,
                                             std::vector<double> shares) {
  OthersPosteriors result;
  result.shares = std::move(shares);
  if (*std::min_element(result.shares.begin(), result.shares.end()) <= 0) {
    return absl::FailedPreconditionError(
        "a class that no other site has cannot be told from their records");
  }
  // Probabilities need no labels.
  const std::vector<int64_t> labels(features.rows, 0);
  FG_ASSIGN_OR_RETURN(
      const LogisticSample sample,
      LogisticSample::Create(features, labels, head.num_classes));
  const RowMajorMatrix contrasts =
      sample.Probabilities(Eigen::Map<const Eigen::VectorXd>(
          head.coefficients.data(), head.coefficients.size()));
  RowMajorMatrix posteriors(contrasts.rows(), contrasts.cols() + 1);
  posteriors.rightCols(contrasts.cols()) = contrasts;
  posteriors.col(0) = (1 - contrasts.rowwise().sum().array()).max(0);
  result.posteriors.assign(posteriors.data(),
                           posteriors.data() + posteriors.size());
  const auto estimate = EstimatePriorEm(
      {result.posteriors, posteriors.rows(), posteriors.cols()}, result.shares);
  if (!estimate.ok() ||
      !std::all_of(estimate->deviation.begin(), estimate->deviation.end(),
                   [](double value) { return std::isfinite(value); })) {
    return absl::FailedPreconditionError(
        "no share of a class is the likeliest");
  }
  result.prior = *estimate;
  return result;
}

}  // namespace fedgraft
