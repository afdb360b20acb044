#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "tests/shift/simulated_federation.h"

namespace fedgraft {

// Two-class logistic heads on features as they are, by Newton's method: what
// the experiments on remedies and transfer compare.
struct HeadFit {
  // Least weighted cross-entropy plus half of `pull` times the squared
  // distance of the slopes from `centre`'s (empty: 0).
  double pull = 1;
  Eigen::VectorXd centre = {};   // [1 + d]
  Eigen::VectorXd weights = {};  // [n]; empty: 1 each
};
Eigen::MatrixXd RowsOf(const SimulatedRecords& records);  // [n, d]
Eigen::VectorXd FitHead(const Eigen::MatrixXd& rows,
                        const std::vector<int64_t>& labels,
                        const HeadFit& options);

// P(class 0), P(class 1) of each row, [n, 2].
std::vector<double> ScoresOf(const Eigen::MatrixXd& rows,
                             const Eigen::VectorXd& head);

double LogLossOf(const std::vector<double>& scores,
                 const std::vector<int64_t>& labels);
double AucOf(const std::vector<double>& scores,
             const std::vector<int64_t>& labels);

}  // namespace fedgraft
