#include "common/shift/sketch_space.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <Eigen/Eigenvalues>
#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/seeded_values.h"
#include "common/numeric/dense_products.h"
#include "common/shift/distributions.h"
#include "common/transfer/packed_symmetric.h"

namespace fedgraft {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;
using RowMajor =
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr double kRankTolerance = 1e-9;  // of the largest eigenvalue
constexpr double kRecordsPerDim = 10;
constexpr double kRecordsPerUnknown = 10;
// Of the seed: what is drawn from it must not repeat.
constexpr uint64_t kProjectionStream = 1, kFrameStream = 2, kWaveStream = 3;

std::mt19937_64 Stream(uint64_t seed, uint64_t stream) {
  std::seed_seq sequence{static_cast<uint32_t>(seed),
                         static_cast<uint32_t>(seed >> 32),
                         static_cast<uint32_t>(stream)};
  return std::mt19937_64(sequence);
}

// [rows, columns], orthonormal columns.
MatrixXd Orthonormal(const MatrixXd& matrix) {
  const Eigen::HouseholderQR<MatrixXd> qr(matrix);
  return qr.householderQ() * MatrixXd::Identity(matrix.rows(), matrix.cols());
}

MatrixXd SeededFrame(int64_t rows, int64_t columns, std::mt19937_64 random) {
  MatrixXd frame(rows, columns);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) frame(i, j) = NextNormal(random);
  }
  return frame;
}

// Each of `count` rows to a norm of at most `most`.
void Shorten(int64_t count, double most, std::vector<double>& rows) {
  Eigen::Map<RowMajor> matrix(rows.data(), count,
                              static_cast<int64_t>(rows.size()) / count);
  for (int64_t r = 0; r < count; ++r) {
    const double norm = matrix.row(r).norm();
    if (norm > most) matrix.row(r) *= most / norm;
  }
}

std::vector<double> Flat(const RowMajor& rows) {
  return std::vector<double>(rows.data(), rows.data() + rows.size());
}

// How many of the eigenvalues, largest first, span the space.
int64_t ChooseDims(const VectorXd& values, double records_per_site) {
  int64_t rank = 0;
  while (rank < values.size() && values[rank] > kRankTolerance * values[0]) {
    ++rank;
  }
  const int64_t most = std::clamp<int64_t>(
      static_cast<int64_t>(records_per_site / kRecordsPerDim), 2,
      kSketchDimsMax);
  if (rank <= most) return rank;
  int64_t best = most;
  for (int64_t k = most; k > 0 && 4 * k >= 3 * most; --k) {
    if (values[k - 1] / values[k] > values[best - 1] / values[best]) best = k;
  }
  return best;
}

}  // namespace

absl::StatusOr<SketchProjection> SketchProjection::Create(
    const SketchSpec& spec) {
  FG_RETURN_IF_ERROR(spec.Check());
  SketchProjection projection(spec.feature_dim, spec.projected_dim());
  if (spec.projected_dim() < spec.feature_dim) {
    projection.directions_ =
        Flat(Orthonormal(SeededFrame(spec.feature_dim, spec.projected_dim(),
                                     Stream(spec.seed, kProjectionStream))));
  }
  return projection;
}

absl::StatusOr<std::vector<double>> SketchProjection::Map(
    const MatrixView& features) const {
  FG_RETURN_IF_ERROR(CheckMatrix(features, "features"));
  if (features.columns != dim_) {
    return absl::InvalidArgumentError(
        absl::StrCat("features: expected ", dim_, ", not ", features.columns));
  }
  std::vector<double> rows =
      directions_.empty()
          ? std::vector<double>(features.values.begin(), features.values.end())
          : Product(features.values, directions_, features.rows, dim_,
                    projected_);
  Shorten(features.rows, kSketchFeatureNormMax, rows);
  return rows;
}

absl::StatusOr<SketchSpace> SketchSpace::Create(
    const SketchSpec& spec, const SketchLayout& layout,
    absl::Span<const double> moments) {
  const double n = moments[1];
  const int64_t p = spec.projected_dim();
  const VectorXd mean =
      Eigen::Map<const VectorXd>(
          SketchValues(layout, moments, "features").data(), p) /
      n;
  const MatrixXd covariance =
      UnpackSymmetric(SketchValues(layout, moments, "feature_products"), p) /
          n -
      mean * mean.transpose();
  const Eigen::SelfAdjointEigenSolver<MatrixXd> solver(covariance);
  const VectorXd values = solver.eigenvalues().reverse();
  // Below, rounding on the grid alone could make it.
  if (solver.info() != Eigen::Success ||
      !(values[0] > std::ldexp(1.0, -20) * (1 + mean.squaredNorm()) / n)) {
    return absl::FailedPreconditionError(
        "sketch: the sites' features do not vary");
  }
  const int64_t k = ChooseDims(values, n / moments[0]);
  const MatrixXd leading = solver.eigenvectors().rightCols(k);
  const MatrixXd basis = Orthonormal(
      leading * (leading.transpose() *
                 SeededFrame(p, k, Stream(spec.seed, kFrameStream))));
  const Eigen::LLT<MatrixXd> cholesky(basis.transpose() * covariance * basis);
  if (cholesky.info() != Eigen::Success) {
    return absl::FailedPreconditionError(
        "sketch: the sites' features do not vary in enough directions");
  }
  const RowMajor axes =
      basis * cholesky.matrixU().solve(MatrixXd::Identity(k, k));

  FG_ASSIGN_OR_RETURN(RandomFeatures random_features,
                      RandomFeatures::Create(k, kSketchEmbedding,
                                             std::sqrt(static_cast<double>(k)),
                                             Stream(spec.seed, kWaveStream)()));
  SketchSpace space(std::move(random_features));
  space.dims_ = k;
  const int64_t contrasts = spec.num_classes - 1;
  const int64_t width =
      std::min<int64_t>(kSketchUnknownsMax,
                        static_cast<int64_t>(n / kRecordsPerUnknown)) /
      contrasts;
  space.head_dims_ = std::clamp<int64_t>(width - 1, 1, k);
  space.mean_.assign(mean.data(), mean.data() + p);
  space.axes_ = Flat(axes);
  if (spec.has_acquisition) {
    const auto sums = SketchValues(layout, moments, "acquisition");
    const auto squares = SketchValues(layout, moments, "acquisition_squares");
    for (int i = 0; i < kAcquisitions; ++i) {
      const double m = sums[i] / n;
      space.acquisition_mean_.push_back(m);
      space.acquisition_deviation_.push_back(
          std::sqrt(std::max(squares[i] / n - m * m, 0.0)));
    }
  }
  return space;
}

absl::StatusOr<std::vector<double>> SketchSpace::Map(
    const MatrixView& projected) const {
  const auto p = static_cast<int64_t>(mean_.size());
  if (projected.columns != p ||
      static_cast<int64_t>(projected.values.size()) != projected.rows * p) {
    return absl::InvalidArgumentError(absl::StrCat(
        "projected features: expected ", p, ", not ", projected.columns));
  }
  const Eigen::Map<const RowMajor> rows(projected.values.data(), projected.rows,
                                        p);
  const Eigen::Map<const VectorXd> mean(mean_.data(), p);
  std::vector<double> z = Product(Flat(rows.rowwise() - mean.transpose()),
                                  axes_, projected.rows, p, dims_);
  Shorten(projected.rows, kSketchSpaceNormMax, z);
  return z;
}

int SketchSpace::AcquisitionBin(int which, double value) const {
  const double deviation = acquisition_deviation_[which];
  if (!(deviation > 0)) return 0;
  const double below =
      1 - NormalTail((CutAcquisition(value) - acquisition_mean_[which]) /
                     deviation);
  return std::clamp(static_cast<int>(below * kSketchBins), 0, kSketchBins - 1);
}

double CutAcquisition(double value) {
  return std::clamp(value, -kAcquisitionMax, kAcquisitionMax);
}

}  // namespace fedgraft
