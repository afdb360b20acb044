#include "common/solve/least_squares.h"

#include <cmath>

#include "common/solve/symmetric.h"
#include "common/transfer/packed_symmetric.h"

namespace fedgraft {
namespace {

// Half the summed squared error, from the sums alone.
double SquaredError(const LeastSquares& problem, const Eigen::MatrixXd& gram,
                    const Eigen::MatrixXd& cross, const Eigen::MatrixXd& w) {
  double error = 0;
  for (int c = 0; c < problem.classes; ++c) {
    const double count = problem.class_counts[c];
    const double centred = count - count * count / problem.records;
    error += centred - 2 * w.col(c).dot(cross.col(c)) +
             w.col(c).dot(gram * w.col(c));
  }
  return 0.5 * error;
}

}  // namespace

SolvedHead SolveLeastSquares(const LeastSquares& problem, double lambda) {
  const int64_t dim = problem.feature_dim;
  const Eigen::Map<const Eigen::VectorXd> sums(problem.feature_sums.data(),
                                               dim);
  Eigen::MatrixXd gram = UnpackSymmetric(problem.gram, dim);
  gram.noalias() -= sums * (sums.transpose() / problem.records);
  Eigen::MatrixXd cross(dim, problem.classes);
  for (int c = 0; c < problem.classes; ++c) {
    const Eigen::Map<const Eigen::VectorXd> of_class(
        problem.cross.data() + c * dim, dim);
    cross.col(c) =
        of_class - sums * (problem.class_counts[c] / problem.records);
  }
  Eigen::MatrixXd damped = gram;
  damped.diagonal().array() += lambda;
  const Eigen::MatrixXd w = SolvePositive(damped, cross);

  SolvedHead head;
  head.lambda = lambda;
  head.converged = true;
  head.objective =
      SquaredError(problem, gram, cross, w) + 0.5 * lambda * w.squaredNorm();
  head.gradient_max = (damped * w - cross).cwiseAbs().maxCoeff();
  for (int c = 0; c < problem.classes; ++c) {
    head.weights.insert(head.weights.end(), w.col(c).data(),
                        w.col(c).data() + dim);
    head.weights.push_back((problem.class_counts[c] - w.col(c).dot(sums)) /
                           problem.records);
  }
  return head;
}

}  // namespace fedgraft
