#include "client/shift/head_scores.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "common/base/status_macros.h"
#include "common/shift/distributions.h"
#include "common/shift/logistic_sample.h"
#include "common/shift/pooled_head.h"

namespace fedgraft {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr int kStepsMax = 50;
constexpr double kSlopeRidge = 1;  // of fitted slopes, towards the head's

// A site's records of the classes that it has, the others' head among those,
// and the directions in which slopes are looked at.
class Problem {
 public:
  static absl::StatusOr<Problem> Create(const SiteView& view,
                                        bool all_classes) {
    FG_RETURN_IF_ERROR(view.head().status());
    Problem problem;
    const absl::Span<const double> counts = view.Own("class_counts");
    for (int c = 0; c < view.spec().num_classes; ++c) {
      if (all_classes || counts[c] >= kHeadClassRecordsMin) {
        problem.classes_.push_back(c);
      }
    }
    if (problem.classes_.size() < 2) {
      return absl::FailedPreconditionError("records of one class only");
    }
    FG_RETURN_IF_ERROR(problem.TakeRecords(view));
    problem.TakeHead(*view.head(), view.OthersMean("space"));
    problem.ChooseDirections();
    return problem;
  }

  const LogisticSample& sample() const { return *sample_; }
  const VectorXd& head() const { return head_; }
  const MatrixXd& covariance() const { return covariance_; }
  // What of the covariance is the weak pull's, not chance.
  const MatrixXd& pulled() const { return pulled_; }
  MatrixXd InterceptBasis() const {
    return Basis(VectorXd::Unit(sample_->width(), 0));
  }
  // Empty columns: too few records for any slope.
  MatrixXd SlopeBasis() const { return Basis(directions_); }
  // Those along the head's own slopes: few, so that what they take from other
  // coefficients is sure.
  MatrixXd OwnSlopeBasis() const {
    return Basis(directions_.leftCols(
        std::min(directions_.cols(), sample_->contrasts())));
  }

 private:
  absl::Status TakeRecords(const SiteView& view) {
    const MatrixView features = view.head_features();
    const std::vector<double> centre = view.OthersMean("space");
    for (int64_t r = 0; r < view.n(); ++r) {
      const auto place =
          std::find(classes_.begin(), classes_.end(), view.labels()[r]);
      if (place == classes_.end()) continue;
      labels_.push_back(place - classes_.begin());
      const absl::Span<const double> row = features.Row(r);
      for (int64_t i = 0; i < features.columns; ++i) {
        features_.push_back(row[i] - centre[i]);
      }
    }
    FG_ASSIGN_OR_RETURN(
        LogisticSample sample,
        LogisticSample::Create(
            {features_, static_cast<int64_t>(labels_.size()), features.columns},
            labels_, static_cast<int>(classes_.size())));
    sample_ = std::make_unique<LogisticSample>(std::move(sample));
    return absl::OkStatus();
  }

  // Contrasts to the first of the classes that are there. Intercepts are those
  // at the others' mean: where slopes differ it matters where one looks, and
  // the pooled mean has the site in it.
  void TakeHead(const ReferenceHead& head, absl::Span<const double> centre) {
    const int64_t width = head.feature_dim + 1;
    const int64_t full = (head.num_classes - 1) * width;
    MatrixXd contrast = MatrixXd::Zero(sample_->unknowns(), full);
    const auto add = [&](int64_t to, int class_index, double sign) {
      if (class_index == 0) return;
      const int64_t from = (class_index - 1) * width;
      for (int64_t i = 0; i < width; ++i) {
        contrast(to + i, from + i) = sign;
        if (i > 0) contrast(to, from + i) = sign * centre[i - 1];
      }
    };
    for (size_t c = 1; c < classes_.size(); ++c) {
      const int64_t to = static_cast<int64_t>(c - 1) * width;
      add(to, classes_[c], 1);
      add(to, classes_[0], -1);
    }
    head_ =
        contrast * Eigen::Map<const VectorXd>(head.coefficients.data(), full);
    const MatrixXd covariance =
        Eigen::Map<const MatrixXd>(head.covariance.data(), full, full);
    VectorXd pull = VectorXd::Constant(full, PooledHead::kSlopeRidge);
    for (int64_t i = 0; i < full; i += width) {
      pull[i] = PooledHead::kInterceptRidge;
    }
    covariance_ = contrast * covariance * contrast.transpose();
    pulled_ = contrast * covariance * pull.asDiagonal() * covariance *
              contrast.transpose();
  }

  void ChooseDirections() {
    const int64_t k = sample_->width() - 1;
    const int64_t contrasts = sample_->contrasts();
    const auto most = static_cast<int64_t>(
        static_cast<double>(sample_->n()) /
        (kHeadRecordsPerSlope * static_cast<double>(contrasts)));
    MatrixXd slopes(k, contrasts + k);
    for (int64_t c = 0; c < contrasts; ++c) {
      slopes.col(c) = head_.segment(c * (k + 1) + 1, k);
    }
    slopes.rightCols(k).setIdentity();
    const Eigen::HouseholderQR<MatrixXd> qr(slopes);
    const MatrixXd q = qr.householderQ();
    directions_ = MatrixXd::Zero(k + 1, std::min(k, most));
    directions_.bottomRows(k) = q.leftCols(directions_.cols());
  }

  // `of_contrast` [width, q] for every contrast, [unknowns, contrasts * q].
  MatrixXd Basis(const MatrixXd& of_contrast) const {
    const int64_t d = sample_->width(), q = of_contrast.cols();
    MatrixXd basis =
        MatrixXd::Zero(sample_->unknowns(), sample_->contrasts() * q);
    for (int64_t c = 0; c < sample_->contrasts(); ++c) {
      basis.block(c * d, c * q, d, q) = of_contrast;
    }
    return basis;
  }

  std::vector<int> classes_;
  std::vector<int64_t> labels_;
  std::vector<double> features_;
  std::unique_ptr<LogisticSample> sample_;
  VectorXd head_;
  MatrixXd covariance_, pulled_;
  MatrixXd directions_;  // [1 + k, q]
};

// The likeliest coefficients head + basis * x, less half of x' penalty x.
absl::StatusOr<VectorXd> Fit(const LogisticSample& sample, const VectorXd& head,
                             const MatrixXd& basis, const MatrixXd& penalty) {
  VectorXd x = VectorXd::Zero(basis.cols());
  VectorXd score;
  MatrixXd information;
  const auto objective = [&](const VectorXd& at) {
    return sample.LogLikelihood(head + basis * at) - 0.5 * at.dot(penalty * at);
  };
  for (int step = 0; step < kStepsMax; ++step) {
    sample.Derive(head + basis * x, score, information);
    const VectorXd gradient = basis.transpose() * score - penalty * x;
    const MatrixXd hessian = basis.transpose() * information * basis + penalty;
    const Eigen::LDLT<MatrixXd> ldlt(hessian);
    const VectorXd direction = ldlt.solve(gradient);
    const double gain = gradient.dot(direction);
    if (!direction.allFinite() || !(gain >= 0)) break;
    if (gain < 1e-9) return VectorXd(head + basis * x);
    const double before = objective(x);
    double length = 1;
    while (length > 1e-6 && !(objective(x + length * direction) >=
                              before + 1e-4 * length * gain)) {
      length /= 2;
    }
    if (!(length > 1e-6)) break;
    x += length * direction;
  }
  return absl::FailedPreconditionError("the site's labels leave its fit open");
}

absl::StatusOr<ScoreTest> Quadratic(const VectorXd& score,
                                    const MatrixXd& variance) {
  const Eigen::LDLT<MatrixXd> ldlt(variance);
  const VectorXd pivots = ldlt.vectorD();
  if (!variance.allFinite() || ldlt.info() != Eigen::Success ||
      !(pivots.minCoeff() > 1e-10 * std::max(pivots.maxCoeff(), 1e-10))) {
    return absl::FailedPreconditionError("the features do not vary enough");
  }
  ScoreTest test;
  test.statistic = std::max(score.dot(ldlt.solve(score)), 0.0);
  test.dof = static_cast<double>(score.size());
  test.p = ChiSquareTail(test.statistic, test.dof);
  return test;
}

// What the others know of the coefficients: the inverse of their covariance;
// with `slopes_only` of the slopes, whatever their intercepts are, and 0 for
// those.
MatrixXd Precision(const Problem& problem, bool slopes_only) {
  const int64_t width = problem.sample().width();
  std::vector<int64_t> known;
  for (int64_t i = 0; i < problem.head().size(); ++i) {
    if (!slopes_only || i % width != 0) known.push_back(i);
  }
  const auto count = static_cast<int64_t>(known.size());
  const MatrixXd covariance = problem.covariance()(known, known);
  const MatrixXd inverse =
      covariance.ldlt().solve(MatrixXd::Identity(count, count));
  MatrixXd precision =
      MatrixXd::Zero(problem.head().size(), problem.head().size());
  precision(known, known) = inverse;
  return precision;
}

// Rao's test of `tested`, where one set of coefficients is fitted to the site
// and the others together (`precision`: what the others say), and in the
// directions `own` the site has its own, with `ridge`. At the others' head
// alone, which their few records in doubt leave too long, such tests reject up
// to three times as often as they should.
absl::StatusOr<ScoreTest> TestAtCommonFit(const Problem& problem,
                                          const MatrixXd& tested,
                                          const MatrixXd& precision,
                                          const MatrixXd& own, double ridge) {
  const int64_t count = problem.head().size(), owned = own.cols();
  MatrixXd fitted(count, count + owned);
  fitted << MatrixXd::Identity(count, count), own;
  MatrixXd penalty = MatrixXd::Zero(count + owned, count + owned);
  penalty.topLeftCorner(count, count) = precision;
  penalty.bottomRightCorner(owned, owned).diagonal().setConstant(ridge);
  FG_ASSIGN_OR_RETURN(const VectorXd at,
                      Fit(problem.sample(), problem.head(), fitted, penalty));
  VectorXd score;
  MatrixXd information;
  problem.sample().Derive(at, score, information);
  const MatrixXd cross = fitted.transpose() * information * tested;
  const MatrixXd inner = fitted.transpose() * information * fitted + penalty;
  const MatrixXd taken = inner.ldlt().solve(cross);
  // Less than the penalties make of it varies by chance: of the others'
  // estimate what is the weak pull's, of the pull on own directions all.
  const MatrixXd passed = precision * taken.topRows(count);
  const MatrixXd kept = taken.bottomRows(owned);
  return Quadratic(tested.transpose() * score,
                   tested.transpose() * information * tested -
                       cross.transpose() * taken -
                       passed.transpose() * problem.pulled() * passed -
                       ridge * kept.transpose() * kept);
}

}  // namespace

absl::StatusOr<ScoreTest> TestIntercepts(const SiteView& view) {
  FG_ASSIGN_OR_RETURN(const Problem problem, Problem::Create(view, true));
  return TestAtCommonFit(problem, problem.InterceptBasis(),
                         Precision(problem, /*slopes_only=*/false),
                         MatrixXd(problem.head().size(), 0), 0);
}

absl::StatusOr<ScoreTest> TestSlopes(const SiteView& view) {
  FG_ASSIGN_OR_RETURN(const Problem problem, Problem::Create(view, false));
  const MatrixXd slopes = problem.SlopeBasis();
  if (slopes.cols() < 1) {
    return absl::FailedPreconditionError("too few records for any slope");
  }
  return TestAtCommonFit(problem, slopes,
                         Precision(problem, /*slopes_only=*/true),
                         MatrixXd(problem.head().size(), 0), 0);
}

absl::StatusOr<ScoreTest> TestInterceptsProfiled(const SiteView& view) {
  FG_ASSIGN_OR_RETURN(const Problem problem, Problem::Create(view, false));
  return TestAtCommonFit(problem, problem.InterceptBasis(),
                         Precision(problem, /*slopes_only=*/false),
                         problem.OwnSlopeBasis(), kSlopeRidge);
}

}  // namespace fedgraft
