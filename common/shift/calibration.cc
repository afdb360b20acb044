#include "common/shift/calibration.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

using RowMajor =
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr int kStepsMax = 100;
constexpr double kGradientTolerance = 1e-9;

// softmax(slope * logits + bias), row by row.
RowMajor Softmax(const RowMajor& logits, double slope,
                 const Eigen::VectorXd& bias) {
  RowMajor p = (slope * logits).rowwise() + bias.transpose();
  for (int64_t r = 0; r < p.rows(); ++r) {
    p.row(r) = (p.row(r).array() - p.row(r).maxCoeff()).exp();
    p.row(r) /= p.row(r).sum();
  }
  return p;
}

// Parameters: slope, then the bias [C], whose sum the ridge holds at 0.
class Problem {
 public:
  Problem(const RowMajor& logits, absl::Span<const int64_t> labels)
      : logits_(logits), labels_(labels) {}

  double Loss(const Eigen::VectorXd& x) const {
    const RowMajor p = Softmax(logits_, x[0], x.tail(x.size() - 1));
    double sum = 0;
    for (int64_t r = 0; r < p.rows(); ++r) {
      sum -= std::log(std::max(p(r, labels_[r]), 1e-300));
    }
    return sum / static_cast<double>(p.rows());
  }
  double Objective(const Eigen::VectorXd& x) const {
    return Loss(x) + kCalibrationRidge / 2 * Pull(x).squaredNorm();
  }
  void Derive(const Eigen::VectorXd& x, Eigen::VectorXd& gradient,
              Eigen::MatrixXd& hessian) const {
    const int64_t classes = logits_.cols();
    const RowMajor p = Softmax(logits_, x[0], x.tail(classes));
    const auto n = static_cast<double>(p.rows());
    RowMajor residual = p;
    for (int64_t r = 0; r < p.rows(); ++r) residual(r, labels_[r]) -= 1;
    const Eigen::VectorXd mean = p.cwiseProduct(logits_).rowwise().sum();
    const RowMajor spread = p.cwiseProduct(logits_.colwise() - mean);
    gradient = kCalibrationRidge * Pull(x);
    gradient[0] += residual.cwiseProduct(logits_).sum() / n;
    gradient.tail(classes) += residual.colwise().sum().transpose() / n;
    hessian =
        kCalibrationRidge * Eigen::MatrixXd::Identity(classes + 1, classes + 1);
    hessian(0, 0) += spread.cwiseProduct(logits_).sum() / n;
    const Eigen::VectorXd mixed = spread.colwise().sum().transpose() / n;
    hessian.block(1, 0, classes, 1) += mixed;
    hessian.block(0, 1, 1, classes) += mixed.transpose();
    hessian.bottomRightCorner(classes, classes) -= p.transpose() * p / n;
    hessian.bottomRightCorner(classes, classes).diagonal() +=
        p.colwise().sum().transpose() / n;
  }

 private:
  // From no change: slope 1, bias 0.
  static Eigen::VectorXd Pull(const Eigen::VectorXd& x) {
    Eigen::VectorXd pull = x;
    pull[0] -= 1;
    return pull;
  }
  const RowMajor& logits_;
  absl::Span<const int64_t> labels_;
};

}  // namespace

absl::StatusOr<Calibration> FitCalibration(const MatrixView& logits,
                                           absl::Span<const int64_t> labels) {
  FG_RETURN_IF_ERROR(CheckMatrix(logits, "logits"));
  if (logits.columns < 2 || logits.rows < 1 ||
      static_cast<int64_t>(labels.size()) != logits.rows) {
    return absl::InvalidArgumentError(
        absl::StrCat("calibration: expected a label for each of ", logits.rows,
                     " records of two classes or more, not ", labels.size()));
  }
  for (int64_t label : labels) {
    if (label < 0 || label >= logits.columns) {
      return absl::InvalidArgumentError(absl::StrCat(
          "calibration: label ", label, " of ", logits.columns, " classes"));
    }
  }
  const RowMajor rows = Eigen::Map<const RowMajor>(logits.values.data(),
                                                   logits.rows, logits.columns);
  const Problem problem(rows, labels);
  Eigen::VectorXd x = Eigen::VectorXd::Zero(logits.columns + 1);
  x[0] = 1;
  Calibration calibration;
  calibration.loss_before = problem.Loss(x);
  Eigen::VectorXd gradient;
  Eigen::MatrixXd hessian;
  for (int step = 0; step < kStepsMax; ++step) {
    problem.Derive(x, gradient, hessian);
    if (gradient.lpNorm<Eigen::Infinity>() < kGradientTolerance) break;
    const Eigen::VectorXd direction = hessian.ldlt().solve(gradient);
    const double before = problem.Objective(x);
    const double slope = gradient.dot(direction);
    double length = 1;
    while (length > 1e-10 && problem.Objective(x - length * direction) >
                                 before - 1e-4 * length * slope) {
      length /= 2;
    }
    if (!(length > 1e-10)) break;  // rounding: no better point
    x -= length * direction;
  }
  if (!(x[0] > 0)) {
    return absl::FailedPreconditionError(
        "calibration: the scores speak against the labels");
  }
  calibration.temperature = 1 / x[0];
  const Eigen::VectorXd bias =
      x.tail(logits.columns).array() - x.tail(logits.columns).mean();
  calibration.bias.assign(bias.data(), bias.data() + bias.size());
  calibration.loss_after = problem.Loss(x);
  return calibration;
}

absl::StatusOr<std::vector<double>> CalibratedPosteriors(
    const MatrixView& logits, const Calibration& calibration) {
  FG_RETURN_IF_ERROR(CheckMatrix(logits, "logits"));
  if (static_cast<int64_t>(calibration.bias.size()) != logits.columns) {
    return absl::InvalidArgumentError(
        absl::StrCat("logits: expected ", calibration.bias.size(),
                     " classes, not ", logits.columns));
  }
  const RowMajor rows = Eigen::Map<const RowMajor>(logits.values.data(),
                                                   logits.rows, logits.columns);
  const RowMajor p = Softmax(rows, 1 / calibration.temperature,
                             Eigen::Map<const Eigen::VectorXd>(
                                 calibration.bias.data(), logits.columns));
  return std::vector<double>(p.data(), p.data() + p.size());
}

}  // namespace fedgraft
