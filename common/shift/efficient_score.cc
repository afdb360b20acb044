#include "common/shift/efficient_score.h"

#include <Eigen/Cholesky>
#include <Eigen/LU>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/shift/distributions.h"

namespace fedgraft {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;
using RowMajor =
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr int kStepsMax = 100;
constexpr double kGradientTolerance = 1e-8;

// Records (1, f) and labels under a head's coefficients.
class Sample {
 public:
  static absl::StatusOr<Sample> Create(const MatrixView& features,
                                       absl::Span<const int64_t> labels,
                                       int num_classes) {
    FG_RETURN_IF_ERROR(CheckMatrix(features, "features"));
    if (num_classes < 2 ||
        static_cast<int64_t>(labels.size()) != features.rows) {
      return absl::InvalidArgumentError(absl::StrCat(
          "score test: expected a label of two classes or more for each of ",
          features.rows, " records, not ", labels.size()));
    }
    std::vector<int64_t> counts(num_classes);
    for (int64_t label : labels) {
      if (label < 0 || label >= num_classes) {
        return absl::InvalidArgumentError(absl::StrCat(
            "score test: label ", label, " of ", num_classes, " classes"));
      }
      ++counts[label];
    }
    for (int c = 0; c < num_classes; ++c) {
      if (counts[c] == 0) {
        return absl::FailedPreconditionError(
            absl::StrCat("score test: no record of class ", c));
      }
    }
    Sample sample;
    sample.rows_.resize(features.rows, features.columns + 1);
    sample.rows_.col(0).setOnes();
    sample.rows_.rightCols(features.columns) = Eigen::Map<const RowMajor>(
        features.values.data(), features.rows, features.columns);
    sample.labels_ = labels;
    sample.contrasts_ = num_classes - 1;
    return sample;
  }

  int64_t contrasts() const { return contrasts_; }
  int64_t width() const { return rows_.cols(); }
  int64_t n() const { return rows_.rows(); }

  // Gradient of the log likelihood in the coefficients [C - 1, 1 + k] (flat,
  // contrast by contrast), and their Fisher information.
  void Derive(const VectorXd& coefficients, VectorXd& score,
              MatrixXd& information) const {
    const int64_t d = width();
    score = VectorXd::Zero(contrasts_ * d);
    information = MatrixXd::Zero(contrasts_ * d, contrasts_ * d);
    const RowMajor p = Probabilities(coefficients);
    RowMajor residual = -p;
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
  double LogLikelihood(const VectorXd& coefficients) const {
    const RowMajor p = Probabilities(coefficients);
    double sum = 0;
    for (int64_t r = 0; r < n(); ++r) {
      const double own =
          labels_[r] > 0 ? p(r, labels_[r] - 1) : 1 - p.row(r).sum();
      sum += std::log(std::max(own, 1e-300));
    }
    return sum;
  }

 private:
  // Of classes 1.. [n, C - 1].
  RowMajor Probabilities(const VectorXd& coefficients) const {
    RowMajor p(n(), contrasts_);
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

  RowMajor rows_;
  absl::Span<const int64_t> labels_;
  int64_t contrasts_ = 1;
};

// Positions of the intercepts, or of the slopes, among the coefficients.
std::vector<int64_t> Positions(const Sample& sample, bool intercepts) {
  std::vector<int64_t> positions;
  for (int64_t i = 0; i < sample.contrasts() * sample.width(); ++i) {
    if ((i % sample.width() == 0) == intercepts) positions.push_back(i);
  }
  return positions;
}

// Newton's method over the coefficients at `positions`, others fixed, with
// `ridge` on those that are slopes.
absl::Status Maximise(const Sample& sample,
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
  FG_ASSIGN_OR_RETURN(const Sample sample,
                      Sample::Create(features, labels, head.num_classes));
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
  FG_ASSIGN_OR_RETURN(const Sample sample,
                      Sample::Create(features, labels, num_classes));
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
