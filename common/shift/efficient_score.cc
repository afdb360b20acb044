#include "common/shift/efficient_score.h"

#include <Eigen/Cholesky>
#include <Eigen/LU>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/shift/distributions.h"
#include "common/shift/logistic_sample.h"

namespace fedgraft {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr int kStepsMax = 100;
constexpr double kGradientTolerance = 1e-8;

absl::StatusOr<LogisticSample> SampleOfEveryClass(
    const MatrixView& features, absl::Span<const int64_t> labels,
    int num_classes) {
  FG_ASSIGN_OR_RETURN(LogisticSample sample,
                      LogisticSample::Create(features, labels, num_classes));
  std::vector<int64_t> counts(num_classes);
  for (int64_t label : labels) ++counts[label];
  for (int c = 0; c < num_classes; ++c) {
    if (counts[c] == 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("score test: no record of class ", c));
    }
  }
  return sample;
}

// Positions of the intercepts, or of the slopes, among the coefficients.
std::vector<int64_t> Positions(const LogisticSample& sample, bool intercepts) {
  std::vector<int64_t> positions;
  for (int64_t i = 0; i < sample.contrasts() * sample.width(); ++i) {
    if ((i % sample.width() == 0) == intercepts) positions.push_back(i);
  }
  return positions;
}

// Newton's method over the coefficients at `positions`, others fixed, with
// `ridge` on those that are slopes.
absl::Status Maximise(const LogisticSample& sample,
                      const std::vector<int64_t>& positions, double ridge,
                      VectorXd& coefficients) {
  const auto objective = [&](const VectorXd& x) {
    double squares = 0;
    for (int64_t i : positions) {
      if (i % sample.width() != 0) squares += x[i] * x[i];
    }
    return sample.LogLikelihood(x) - ridge / 2 * squares;
  };
  VectorXd score;
  MatrixXd information;
  for (int step = 0; step < kStepsMax; ++step) {
    sample.Derive(coefficients, score, information);
    VectorXd gradient = score(positions);
    MatrixXd hessian = information(positions, positions);
    for (size_t j = 0; j < positions.size(); ++j) {
      if (positions[j] % sample.width() == 0) continue;
      gradient[j] -= ridge * coefficients[positions[j]];
      hessian(j, j) += ridge;
    }
    if (gradient.lpNorm<Eigen::Infinity>() <
        kGradientTolerance * static_cast<double>(sample.n())) {
      return absl::OkStatus();
    }
    const VectorXd direction = hessian.ldlt().solve(gradient);
    const double before = objective(coefficients);
    double length = 1;
    VectorXd next = coefficients;
    while (length > 1e-10) {
      next = coefficients;
      next(positions) += length * direction;
      if (objective(next) >= before + 1e-4 * length * gradient.dot(direction)) {
        break;
      }
      length /= 2;
    }
    if (!(length > 1e-10)) return absl::OkStatus();  // rounding
    coefficients = next;
  }
  return absl::AbortedError(
      absl::StrCat("head: no convergence in ", kStepsMax, " Newton steps"));
}

absl::StatusOr<ScoreTest> Quadratic(const VectorXd& score,
                                    const MatrixXd& variance) {
  const Eigen::LDLT<MatrixXd> ldlt(variance);
  if (ldlt.info() != Eigen::Success || !ldlt.isPositive() ||
      !(ldlt.vectorD().minCoeff() >
        1e-12 * std::max(ldlt.vectorD().maxCoeff(), 0.0))) {
    return absl::FailedPreconditionError(
        "score test: the features do not vary in all directions; expected "
        "fewer of them");
  }
  ScoreTest test;
  test.statistic = score.dot(ldlt.solve(score));
  test.dof = static_cast<double>(score.size());
  test.p = ChiSquareTail(test.statistic, test.dof);
  return test;
}

absl::Status CheckHead(const ReferenceHead& head, const MatrixView& features) {
  const int64_t count = (head.num_classes - 1) * (head.feature_dim + 1);
  if (head.feature_dim != features.columns ||
      static_cast<int64_t>(head.coefficients.size()) != count ||
      static_cast<int64_t>(head.covariance.size()) != count * count) {
    return absl::InvalidArgumentError(
        absl::StrCat("head: expected ", count, " coefficients on ",
                     features.columns, " features and their covariance, not ",
                     head.coefficients.size(), " on ", head.feature_dim));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ConceptTests> TestConcept(const MatrixView& features,
                                         absl::Span<const int64_t> labels,
                                         const ReferenceHead& head) {
  FG_RETURN_IF_ERROR(CheckHead(head, features));
  FG_ASSIGN_OR_RETURN(const LogisticSample sample,
                      SampleOfEveryClass(features, labels, head.num_classes));
  const std::vector<int64_t> intercepts = Positions(sample, true);
  const std::vector<int64_t> slopes = Positions(sample, false);
  if (sample.n() < kRecordsPerSlope * slopes.size()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "score test: ", sample.n(), " records for ", slopes.size(),
        " slopes; expected ", kRecordsPerSlope, " a slope or more"));
  }
  const int64_t count = sample.contrasts() * sample.width();
  const MatrixXd pooled =
      Eigen::Map<const MatrixXd>(head.covariance.data(), count, count);
  VectorXd coefficients =
      Eigen::Map<const VectorXd>(head.coefficients.data(), count);
  VectorXd score;
  MatrixXd information;
  ConceptTests tests;

  // The score at the reference varies by chance here (its information), and by
  // the chance of what the reference estimated.
  sample.Derive(coefficients, score, information);
  const MatrixXd rows = information(intercepts, Eigen::all);
  FG_ASSIGN_OR_RETURN(
      tests.label_shift,
      Quadratic(score(intercepts), information(intercepts, intercepts) +
                                       rows * pooled * rows.transpose()));

  FG_RETURN_IF_ERROR(Maximise(sample, intercepts, 0, coefficients));
  for (int64_t i : intercepts) tests.intercepts.push_back(coefficients[i]);
  sample.Derive(coefficients, score, information);
  const MatrixXd cross = information(slopes, intercepts);
  const MatrixXd efficient =
      information(slopes, slopes) -
      cross *
          information(intercepts, intercepts).ldlt().solve(cross.transpose());
  FG_ASSIGN_OR_RETURN(
      tests.concept_shift,
      Quadratic(score(slopes),
                efficient + efficient * pooled(slopes, slopes) * efficient));
  return tests;
}

absl::StatusOr<ReferenceHead> FitReferenceHead(const MatrixView& features,
                                               absl::Span<const int64_t> labels,
                                               int num_classes, double ridge) {
  FG_ASSIGN_OR_RETURN(const LogisticSample sample,
                      SampleOfEveryClass(features, labels, num_classes));
  const int64_t count = sample.contrasts() * sample.width();
  std::vector<int64_t> all(count);
  for (int64_t i = 0; i < count; ++i) all[i] = i;
  VectorXd coefficients = VectorXd::Zero(count);
  FG_RETURN_IF_ERROR(Maximise(sample, all, ridge, coefficients));
  VectorXd score;
  MatrixXd information;
  sample.Derive(coefficients, score, information);
  for (int64_t i : Positions(sample, false)) information(i, i) += ridge;
  const MatrixXd covariance =
      information.ldlt().solve(MatrixXd::Identity(count, count));
  ReferenceHead head;
  head.num_classes = num_classes;
  head.feature_dim = features.columns;
  head.coefficients.assign(coefficients.data(), coefficients.data() + count);
  head.covariance.assign(covariance.data(), covariance.data() + count * count);
  return head;
}

}  // namespace fedgraft
