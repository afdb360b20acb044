#include "common/transfer/spectrum.h"

#include <Eigen/Eigenvalues>

namespace fedgraft {

absl::StatusOr<Spectrum> SpectrumOf(const Eigen::MatrixXd& matrix) {
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(matrix);
  if (solver.info() != Eigen::Success) {
    return absl::InternalError("eigenvalues did not converge");
  }
  Spectrum spectrum;
  spectrum.values = solver.eigenvalues().reverse();
  spectrum.vectors = solver.eigenvectors().rowwise().reverse();
  const double smallest = kRankTolerance * spectrum.values[0];
  while (spectrum.rank < spectrum.values.size() &&
         spectrum.values[spectrum.rank] > smallest &&
         spectrum.values[spectrum.rank] > 0) {
    ++spectrum.rank;
  }
  spectrum.values.tail(spectrum.values.size() - spectrum.rank).setZero();
  return spectrum;
}

}  // namespace fedgraft
