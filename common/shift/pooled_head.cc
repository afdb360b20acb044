#include "common/shift/pooled_head.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <cmath>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/shift/logistic_sample.h"
#include "common/shift/sketch_layout.h"
#include "common/transfer/packed_symmetric.h"
#include "common/transfer/product_sums.h"

namespace fedgraft {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

// Of the log likelihood of all records: far below what a test could see.
constexpr double kGainMin = 1e-4;
// Promised by a step after which no other is taken: what that leaves is of the
// order of its square.
constexpr double kLastGainMax = 1e-2;
constexpr int kRefineStepsMax = 20;

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

// From the pooled head to the others'. A map takes the stand-ins' information
// at the pooled head to the others'; what they sum up to elsewhere is the
// stand-ins' sums, mapped. `newton` is the others' first step, which stays as
// it is where the search does not settle.
void Refine(const PooledHead& pooled, const MatrixView& stand_ins,
            NewtonStep& newton) {
  const VectorXd at = AsVector(pooled.coefficients());
  // Of the derivatives, only what does not depend on labels is used.
  const std::vector<int64_t> labels(stand_ins.rows, 0);
  const auto sample =
      LogisticSample::Create(stand_ins, labels, pooled.num_classes());
  if (!sample.ok()) return;
  VectorXd score, first_score;
  MatrixXd information;
  sample->Derive(at, first_score, information);
  const Eigen::LLT<MatrixXd> first(information);
  if (first.info() != Eigen::Success) return;
  const VectorXd target = first_score - information * newton.step;

  VectorXd step = VectorXd::Zero(at.size());
  double length = 1, distance = std::numeric_limits<double>::infinity();
  VectorXd move = step;
  for (int i = 0; i < kRefineStepsMax; ++i) {
    const VectorXd trial = step + length * move;
    sample->Derive(at + trial, score, information);
    const VectorXd left = score - target;
    const double far = first.solve(left).dot(left);
    if (!(far < distance)) {
      length /= 2;
      continue;
    }
    const Eigen::LLT<MatrixXd> now(information);
    if (now.info() != Eigen::Success) return;
    step = trial;
    distance = far;
    length = 1;
    move = now.solve(left);
    if (left.dot(move) / 2 >= kGainMin) continue;
    // The map takes the stand-ins' first inverse to the others'.
    const Eigen::LLT<MatrixXd> others(newton.inverse);
    if (others.info() != Eigen::Success) return;
    const MatrixXd map = MatrixXd(others.matrixL()) * MatrixXd(first.matrixU());
    newton.inverse = map * now.solve(map.transpose());
    newton.step = step + move;
    return;
  }
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
  done_ = is_last || newton->gain < kLastGainMax;
  // The last step is taken only if it is sure to be small.
  if (is_last && !(newton->gain < kLastGainMax)) return absl::OkStatus();
  for (size_t i = 0; i < trial_.size(); ++i) trial_[i] += step_[i];
  return absl::OkStatus();
}

absl::StatusOr<ReferenceHead> LeaveOneOutHead(
    const PooledHead& pooled, const OthersAtPooledHead& others) {
  const VectorXd at = AsVector(pooled.coefficients());
  auto newton = StepFrom(at, Ridge(pooled.num_classes(), pooled.dims()),
                         others.score, others.information);
  if (!newton.ok()) return newton.status();
  Refine(pooled, others.stand_ins, *newton);
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
