#include "tests/bench/experiments/linear_head.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

#include "common/shift/paired_auc.h"

namespace fedgraft {

using Eigen::MatrixXd;
using Eigen::VectorXd;

MatrixXd RowsOf(const SimulatedRecords& records) {
  const auto n = static_cast<int64_t>(records.labels.size());
  const auto d = static_cast<int64_t>(records.features.size()) / n;
  using RowMajor =
      Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  return Eigen::Map<const RowMajor>(records.features.data(), n, d);
}

VectorXd FitHead(const MatrixXd& rows, const std::vector<int64_t>& labels,
                 const HeadFit& options) {
  const int64_t n = rows.rows(), d = rows.cols();
  MatrixXd x(n, d + 1);
  x.col(0).setOnes();
  x.rightCols(d) = rows;
  VectorXd y(n);
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<double>(labels[i]);
  const VectorXd w =
      options.weights.size() > 0 ? options.weights : VectorXd::Ones(n);
  const VectorXd centre =
      options.centre.size() > 0 ? options.centre : VectorXd::Zero(d + 1);
  VectorXd pull = VectorXd::Constant(d + 1, options.pull);
  pull[0] = 1e-6;
  VectorXd head = centre;
  for (int step = 0; step < 50; ++step) {
    const VectorXd p = (1 + (-(x * head).array()).exp()).inverse();
    const VectorXd gradient = x.transpose() * w.cwiseProduct(y - p) -
                              pull.cwiseProduct(head - centre);
    const VectorXd curvature =
        (w.array() * p.array() * (1 - p.array())).max(1e-12);
    MatrixXd hessian = x.transpose() * curvature.asDiagonal() * x;
    hessian.diagonal() += pull;
    const VectorXd move = hessian.ldlt().solve(gradient);
    // Damped far from the solution, where Newton's method overshoots.
    const double gain = gradient.dot(move);
    head += move * std::min(1.0, 3 / std::sqrt(std::max(gain, 1e-12) + 1));
    if (gain < 1e-9) break;
  }
  return head;
}

std::vector<double> ScoresOf(const MatrixXd& rows, const VectorXd& head) {
  const VectorXd logits = (rows * head.tail(rows.cols())).array() + head[0];
  std::vector<double> scores;
  for (double logit : logits) {
    scores.push_back(1 / (1 + std::exp(logit)));
    scores.push_back(1 / (1 + std::exp(-logit)));
  }
  return scores;
}

double LogLossOf(const std::vector<double>& scores,
                 const std::vector<int64_t>& labels) {
  double sum = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    sum -= std::log(std::max(scores[2 * i + labels[i]], 1e-12));
  }
  return sum / static_cast<double>(labels.size());
}

double AucOf(const std::vector<double>& scores,
             const std::vector<int64_t>& labels) {
  std::vector<double> positive;
  for (size_t i = 0; i < labels.size(); ++i) {
    positive.push_back(scores[2 * i + 1]);
  }
  return CompareAuc(labels, positive, positive)->auc_a;
}

}  // namespace fedgraft
