#include "common/shift/pooled_head.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/shift/sketch_layout.h"
#include "common/transfer/packed_symmetric.h"
#include "common/transfer/product_sums.h"

namespace fedgraft {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

// Of the log likelihood of all records: far below what a test could see.
constexpr double kGainMin = 1e-4;

VectorXd Ridge(int num_classes, int64_t dims) {
  VectorXd ridge = VectorXd::Constant((num_classes - 1) * (1 + dims),
                                      PooledHead::kSlopeRidge);
  for (int c = 0; c < num_classes - 1; ++c) {
    ridge[c * (1 + dims)] = PooledHead::kInterceptRidge;
  }
  return ridge;
}

Eigen::Map<const VectorXd> AsVector(absl::Span<const double> values) {
  return {values.data(), static_cast<int64_t>(values.size())};
}

// What one Newton step from `at` makes of the penalised sums.
struct NewtonStep {
  VectorXd step;
  MatrixXd inverse;
  double gain = 0;  // that the step promises
};
absl::StatusOr<NewtonStep> StepFrom(const VectorXd& at, const VectorXd& ridge,
                                    absl::Span<const double> score,
                                    absl::Span<const double> information) {
  if (static_cast<int64_t>(score.size()) != at.size() ||
      static_cast<int64_t>(information.size()) != PackedCount(at.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("pooled head: expected a gradient of ", at.size(),
                     " numbers and their packed information, not ",
                     score.size(), " and ", information.size()));
  }
  const VectorXd gradient = AsVector(score) - ridge.cwiseProduct(at);
  MatrixXd hessian = UnpackSymmetric(information, at.size());
  hessian.diagonal() += ridge;
  const Eigen::LLT<MatrixXd> cholesky(hessian);
  if (!gradient.allFinite() || !hessian.allFinite() ||
      cholesky.info() != Eigen::Success) {
    return absl::FailedPreconditionError("pooled head: the sums leave it open");
  }
  NewtonStep newton;
  newton.step = cholesky.solve(gradient);
  newton.inverse = cholesky.solve(MatrixXd::Identity(at.size(), at.size()));
  newton.gain = gradient.dot(newton.step) / 2;
  return newton;
}

}  // namespace

PooledHead::PooledHead(int num_classes, int64_t dims)
    : num_classes_(num_classes),
      dims_(dims),
      trial_((num_classes - 1) * (1 + dims), 0) {}

absl::Status PooledHead::Add(double loss, absl::Span<const double> score,
                             absl::Span<const double> information) {
  FG_CHECK(!done_);
  const VectorXd at = AsVector(trial_);
  const VectorXd ridge = Ridge(num_classes_, dims_);
  const double objective = loss + 0.5 * ridge.dot(at.cwiseProduct(at));
  if (!std::isfinite(objective)) {
    return absl::InvalidArgumentError("pooled head: the loss is not finite");
  }
  ++steps_;
  const bool is_last = steps_ == kSketchHeadStepsMax;
  if (steps_ > 1 && objective > best_objective_ + kGainMin) {
    // Too far: halve the step from the best point.
    length_ /= 2;
    done_ = is_last;
    for (size_t i = 0; i < trial_.size(); ++i) {
      trial_[i] = best_[i] + (is_last ? 0 : length_ * step_[i]);
    }
    return absl::OkStatus();
  }
  auto newton = StepFrom(at, ridge, score, information);
  if (!newton.ok()) return newton.status();
  best_ = trial_;
  best_objective_ = objective;
  length_ = 1;
  step_.assign(newton->step.data(), newton->step.data() + newton->step.size());
  done_ = is_last || newton->gain < kGainMin;
  // The last step is taken only if it is sure to be small.
  if (is_last && !(newton->gain < kGainMin)) return absl::OkStatus();
  for (size_t i = 0; i < trial_.size(); ++i) trial_[i] += step_[i];
  return absl::OkStatus();
}

absl::StatusOr<ReferenceHead> LeaveOneOutHead(
    const PooledHead& pooled, absl::Span<const double> other_score,
    absl::Span<const double> other_information) {
  const VectorXd at = AsVector(pooled.coefficients());
  auto newton = StepFrom(at, Ridge(pooled.num_classes(), pooled.dims()),
                         other_score, other_information);
  if (!newton.ok()) return newton.status();
  ReferenceHead head;
  head.num_classes = pooled.num_classes();
  head.feature_dim = pooled.dims();
  const VectorXd coefficients = at + newton->step;
  head.coefficients.assign(coefficients.data(),
                           coefficients.data() + coefficients.size());
  head.covariance.assign(newton->inverse.data(),
                         newton->inverse.data() + newton->inverse.size());
  return head;
}

}  // namespace fedgraft
