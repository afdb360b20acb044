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
  const auto& judged = view.judged();
  if (DoesNotApply(judged.status())) return absl::OkStatus();
  FG_RETURN_IF_ERROR(judged.status());
  const auto classes = static_cast<int64_t>(judged->shares.size());
  ShiftResult result;
  if (!CompareMeans(Eigen::Map<const RowMajorMatrix>(judged->posteriors.data(),
                                                     view.n(), classes),
                    judged->shares, view.others_n(), result)) {
    return absl::OkStatus();
  }
  for (int64_t c = 0; c < classes; ++c) {
    result.effect += std::abs(judged->prior.prior[c] - judged->shares[c]) / 2;
  }
  AddResult("label_em", result, scalars);
  AddPriors(judged->prior, judged->shares, view, scalars);
  return absl::OkStatus();
}

}  // namespace fedgraft
