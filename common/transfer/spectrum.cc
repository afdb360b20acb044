#include "common/transfer/spectrum.h"

#include <Eigen/Eigenvalues>

#include "common/base/check.h"
#include "common/transfer/product_sums.h"

namespace fedgraft {

Eigen::MatrixXd UnpackSymmetric(absl::Span<const double> packed, int64_t dim) {
  FG_CHECK(static_cast<int64_t>(packed.size()) == PackedCount(dim));
  Eigen::MatrixXd matrix(dim, dim);
  const double* next = packed.data();
  for (int64_t i = 0; i < dim; ++i) {
    for (int64_t j = i; j < dim; ++j) matrix(i, j) = matrix(j, i) = *next++;
  }
  return matrix;
}

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
