#include "common/transfer/subspace.h"

#include <Eigen/SVD>
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/transfer/spectrum.h"

namespace fedgraft {
namespace {

// Relative to the largest entry or eigenvalue.
constexpr double kSymmetryTolerance = 1e-9;
constexpr double kGapTolerance = 1e-12;

absl::StatusOr<Eigen::MatrixXd> Symmetric(const MatrixView& covariance) {
  FG_RETURN_IF_ERROR(CheckMatrix(covariance, "covariance"));
  if (covariance.rows != covariance.columns) {
    return absl::InvalidArgumentError(
        absl::StrCat("covariance: expected a square matrix, not ",
                     covariance.rows, " x ", covariance.columns));
  }
  const Eigen::MatrixXd matrix = Eigen::Map<const Eigen::MatrixXd>(
      covariance.values.data(), covariance.rows, covariance.columns);
  const double difference = (matrix - matrix.transpose()).cwiseAbs().maxCoeff();
  if (difference > kSymmetryTolerance * matrix.cwiseAbs().maxCoeff()) {
    return absl::InvalidArgumentError("covariance: not symmetric");
  }
  return matrix;
}

// Orthonormal basis [d, rank].
absl::StatusOr<Eigen::MatrixXd> TopBasis(const MatrixView& covariance,
                                         int64_t rank) {
  FG_ASSIGN_OR_RETURN(const Eigen::MatrixXd matrix, Symmetric(covariance));
  if (rank < 1 || rank >= matrix.rows()) {
    return absl::InvalidArgumentError(
        absl::StrCat("subspace: expected a rank of 1 to ", matrix.rows() - 1,
                     ", not ", rank));
  }
  FG_ASSIGN_OR_RETURN(const Spectrum spectrum, SpectrumOf(matrix));
  if (spectrum.rank < rank) {
    return absl::FailedPreconditionError(
        absl::StrCat("subspace: the features vary in ", spectrum.rank,
                     " directions, not in ", rank));
  }
  const double gap = spectrum.values[rank - 1] - spectrum.values[rank];
  if (!(gap > kGapTolerance * spectrum.values[0])) {
    return absl::FailedPreconditionError(
        absl::StrCat("subspace: the features vary as much in direction ",
                     rank + 1, " as in direction ", rank));
  }
  return Eigen::MatrixXd(spectrum.vectors.leftCols(rank));
}

}  // namespace

absl::StatusOr<SubspaceAlignment> AlignSubspaces(const MatrixView& covariance_a,
                                                 const MatrixView& covariance_b,
                                                 int64_t rank) {
  FG_ASSIGN_OR_RETURN(const Eigen::MatrixXd a, TopBasis(covariance_a, rank));
  FG_ASSIGN_OR_RETURN(const Eigen::MatrixXd b, TopBasis(covariance_b, rank));
  if (a.rows() != b.rows()) {
    return absl::InvalidArgumentError(
        absl::StrCat("subspace: expected features of one dimension, not ",
                     a.rows(), " and ", b.rows()));
  }
  const Eigen::MatrixXd overlap = a.transpose() * b;
  // What of B lies outside A; its singular values are the sines, which tell
  // small angles apart where cosines are all 1.
  const Eigen::MatrixXd outside = b - a * overlap;
  const Eigen::VectorXd cosines =
      Eigen::JacobiSVD<Eigen::MatrixXd>(overlap).singularValues();
  const Eigen::VectorXd sines =
      Eigen::JacobiSVD<Eigen::MatrixXd>(outside).singularValues().reverse();
  const auto d = static_cast<double>(a.rows());
  const auto r = static_cast<double>(rank);
  SubspaceAlignment alignment;
  for (int64_t i = 0; i < rank; ++i) {
    alignment.cosines.push_back(std::min(cosines[i], 1.0));
    alignment.angles.push_back(std::atan2(sines[i], cosines[i]));
  }
  alignment.mean_cos2 = std::min(overlap.squaredNorm() / r, 1.0);
  alignment.chordal = outside.norm();
  // Mean and variance of ‖AᵀB‖²/r for B uniform on the Grassmannian.
  alignment.null_mean = r / d;
  alignment.null_deviation =
      std::sqrt(2.0) * (1 - r / d) / std::sqrt((d - 1) * (d + 2));
  alignment.z =
      (alignment.mean_cos2 - alignment.null_mean) / alignment.null_deviation;
  return alignment;
}

}  // namespace fedgraft
