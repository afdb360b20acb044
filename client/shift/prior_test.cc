#include "client/shift/prior_test.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <string>

#include "client/shift/comparisons.h"
#include "common/base/status_macros.h"
#include "common/shift/distributions.h"
#include "common/shift/label_shift.h"
#include "common/shift/logistic_sample.h"
#include "common/shift/shift_tests.h"

namespace fedgraft {
namespace {

constexpr double kQuantile = 1.959963984540054;  // 95 %, two-sided

// The others' head on the site's records, [n, C].
absl::StatusOr<RowMajorMatrix> Posteriors(const SiteView& view) {
  FG_RETURN_IF_ERROR(view.head().status());
  FG_ASSIGN_OR_RETURN(
      const LogisticSample sample,
      LogisticSample::Create(view.head_features(), view.labels(),
                             view.spec().num_classes));
  const std::vector<double>& head = view.head()->coefficients;
  const RowMajorMatrix contrasts = sample.Probabilities(
      Eigen::Map<const Eigen::VectorXd>(head.data(), head.size()));
  RowMajorMatrix posteriors(contrasts.rows(), contrasts.cols() + 1);
  posteriors.rightCols(contrasts.cols()) = contrasts;
  posteriors.col(0) = (1 - contrasts.rowwise().sum().array()).max(0);
  return posteriors;
}

// Two-sample test of the mean probabilities; false: they do not vary.
bool CompareMeans(const RowMajorMatrix& posteriors,
                  absl::Span<const double> shares, double others_n,
                  ShiftResult& result) {
  const auto n = static_cast<double>(posteriors.rows());
  const int64_t contrasts = posteriors.cols() - 1;
  if (!(n > static_cast<double>(contrasts + 1))) return false;
  const RowMajorMatrix p = posteriors.rightCols(contrasts);
  const Eigen::RowVectorXd mean = p.colwise().mean();
  const RowMajorMatrix centred = p.rowwise() - mean;
  const Eigen::MatrixXd variance =
      centred.transpose() * centred / (n - 1) * (1 / n + 1 / others_n);
  const Eigen::LDLT<Eigen::MatrixXd> ldlt(variance);
  const Eigen::VectorXd pivots = ldlt.vectorD();
  if (ldlt.info() != Eigen::Success ||
      !(pivots.minCoeff() > 1e-8 * pivots.maxCoeff()) ||
      !(pivots.minCoeff() > 1e-15)) {
    return false;
  }
  const Eigen::VectorXd difference =
      mean.transpose() -
      Eigen::Map<const Eigen::VectorXd>(shares.data() + 1, contrasts);
  result.statistic = std::max(difference.dot(ldlt.solve(difference)), 0.0);
  result.dof = static_cast<double>(contrasts);
  // Hotelling: the covariance is of n records.
  const double rest = n - result.dof;
  result.p = FisherTail(result.statistic * rest / (result.dof * (n - 1)),
                        result.dof, rest);
  return true;
}

void AddPriors(const PriorEstimate& estimate, absl::Span<const double> shares,
               const SiteView& view, ShiftScalars& scalars) {
  const double wider =
      std::sqrt(1 + static_cast<double>(view.n()) / view.others_n());
  for (size_t c = 0; c < shares.size(); ++c) {
    const std::string name = PriorScalar(static_cast<int>(c));
    const double half = kQuantile * wider * estimate.deviation[c];
    scalars[name] = estimate.prior[c];
    scalars[name + ".low"] = std::max(estimate.prior[c] - half, 0.0);
    scalars[name + ".high"] = std::min(estimate.prior[c] + half, 1.0);
    scalars[ShiftScalar("reference", std::to_string(c))] = shares[c];
  }
}

void AddCheck(const SiteView& view, ShiftScalars& scalars) {
  const int classes = view.spec().num_classes;
  const std::vector<double> joint = view.OthersMean("confusion");
  std::vector<double> predicted(classes);
  for (int i = 0; i < classes * classes; ++i) {
    predicted[i / classes] +=
        view.Own("confusion")[i] / static_cast<double>(view.n());
  }
  const auto estimate =
      EstimatePriorBlackBox({joint, classes, classes}, predicted);
  // Predictions that tell too little of the labels.
  if (!estimate.ok()) return;
  for (int c = 0; c < classes; ++c) {
    if (!std::isfinite(estimate->prior[c])) return;
  }
  for (int c = 0; c < classes; ++c) {
    scalars[ShiftScalar("prior_check", std::to_string(c))] = estimate->prior[c];
  }
}

}  // namespace

std::vector<std::string_view> PriorShiftTest::names() const {
  return {"label_em"};
}

absl::Status PriorShiftTest::Run(const SiteView& view,
                                 ShiftScalars& scalars) const {
  if (view.Has("confusion")) AddCheck(view, scalars);
  const auto posteriors = Posteriors(view);
  if (DoesNotApply(posteriors.status())) return absl::OkStatus();
  FG_RETURN_IF_ERROR(posteriors.status());
  const std::vector<double> shares = view.OthersMean("class_counts");
  ShiftResult result;
  // A class that no other site has cannot be told from the others' records.
  if (*std::min_element(shares.begin(), shares.end()) <= 0 ||
      !CompareMeans(*posteriors, shares, view.others_n(), result)) {
    return absl::OkStatus();
  }
  const auto estimate = EstimatePriorEm(
      {absl::MakeConstSpan(posteriors->data(), posteriors->size()),
       posteriors->rows(), posteriors->cols()},
      shares);
  // A likelihood so flat that no share is the likeliest.
  if (!estimate.ok()) return absl::OkStatus();
  for (size_t c = 0; c < shares.size(); ++c) {
    if (!std::isfinite(estimate->deviation[c])) return absl::OkStatus();
    result.effect += std::abs(estimate->prior[c] - shares[c]) / 2;
  }
  AddResult("label_em", result, scalars);
  AddPriors(*estimate, shares, view, scalars);
  return absl::OkStatus();
}

}  // namespace fedgraft
