#include "common/shift/logistic_sample.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {

using Eigen::MatrixXd;
using Eigen::VectorXd;

absl::StatusOr<LogisticSample> LogisticSample::Create(
    const MatrixView& features, absl::Span<const int64_t> labels,
    int num_classes) {
  FG_RETURN_IF_ERROR(CheckMatrix(features, "features"));
  if (num_classes < 2 || static_cast<int64_t>(labels.size()) != features.rows) {
    return absl::InvalidArgumentError(absl::StrCat(
        "head: expected a label of two classes or more for each of ",
        features.rows, " records, not ", labels.size()));
  }
  for (int64_t label : labels) {
    if (label < 0 || label >= num_classes) {
      return absl::InvalidArgumentError(
          absl::StrCat("head: label ", label, " of ", num_classes, " classes"));
    }
  }
  LogisticSample sample;
  sample.rows_.resize(features.rows, features.columns + 1);
  sample.rows_.col(0).setOnes();
  sample.rows_.rightCols(features.columns) = Eigen::Map<const RowMajorMatrix>(
      features.values.data(), features.rows, features.columns);
  sample.labels_ = labels;
  sample.contrasts_ = num_classes - 1;
  return sample;
}

RowMajorMatrix LogisticSample::Probabilities(
    const VectorXd& coefficients) const {
  RowMajorMatrix p(n(), contrasts_);
  for (int64_t c = 0; c < contrasts_; ++c) {
    p.col(c) = rows_ * coefficients.segment(c * width(), width());
  }
  for (int64_t r = 0; r < n(); ++r) {
    const double top = std::max(p.row(r).maxCoeff(), 0.0);
    p.row(r) = (p.row(r).array() - top).exp();
    p.row(r) /= p.row(r).sum() + std::exp(-top);
  }
  return p;
}

RowMajorMatrix LogisticSample::Residuals(const VectorXd& coefficients) const {
  RowMajorMatrix residual = -Probabilities(coefficients);
  for (int64_t r = 0; r < n(); ++r) {
    if (labels_[r] > 0) residual(r, labels_[r] - 1) += 1;
  }
  return residual;
}

void LogisticSample::Derive(const VectorXd& coefficients, VectorXd& score,
                            MatrixXd& information) const {
  const int64_t d = width();
  score = VectorXd::Zero(unknowns());
  information = MatrixXd::Zero(unknowns(), unknowns());
  const RowMajorMatrix p = Probabilities(coefficients);
  RowMajorMatrix residual = -p;
  for (int64_t r = 0; r < n(); ++r) {
    if (labels_[r] > 0) residual(r, labels_[r] - 1) += 1;
  }
  for (int64_t c = 0; c < contrasts_; ++c) {
    score.segment(c * d, d) = rows_.transpose() * residual.col(c);
    for (int64_t e = c; e < contrasts_; ++e) {
      VectorXd weight = -p.col(c).cwiseProduct(p.col(e));
      if (c == e) weight += p.col(c);
      const MatrixXd block = rows_.transpose() * weight.asDiagonal() * rows_;
      information.block(c * d, e * d, d, d) = block;
      if (e != c) information.block(e * d, c * d, d, d) = block.transpose();
    }
  }
}

double LogisticSample::LogLikelihood(const VectorXd& coefficients) const {
  const RowMajorMatrix p = Probabilities(coefficients);
  double sum = 0;
  for (int64_t r = 0; r < n(); ++r) {
    const double own =
        labels_[r] > 0 ? p(r, labels_[r] - 1) : 1 - p.row(r).sum();
    sum += own > 0 ? std::max(std::log(own), kLogLikelihoodMin)
                   : kLogLikelihoodMin;
  }
  return sum;
}

}  // namespace fedgraft
