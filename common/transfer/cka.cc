#include "common/transfer/cka.h"

#include <Eigen/Core>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

// A representation whose centred squares are less than this share of the plain
// ones differs from a constant by rounding only.
constexpr double kConstantShare = 1e-13;

constexpr int64_t RecordsMin(CkaEstimator estimator) {
  return estimator == CkaEstimator::kBiased ? 2 : 4;
}

absl::Status TooFewRecords(double n, CkaEstimator estimator) {
  return absl::FailedPreconditionError(absl::StrCat(
      "CKA: expected at least ", RecordsMin(estimator), " records, not ", n));
}

absl::Status CheckPair(const MatrixView& x, const MatrixView& y) {
  FG_RETURN_IF_ERROR(CheckMatrix(x, "CKA, first matrix"));
  FG_RETURN_IF_ERROR(CheckMatrix(y, "CKA, second matrix"));
  if (x.rows == y.rows) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("CKA: expected as many records in both matrices, not ",
                   x.rows, " and ", y.rows));
}

// Of centred A and B with k = ‖a‖², l = ‖b‖².
struct HsicTerms {
  double cross = 0;  // ‖AᵀB‖²_F
  double k = 0, l = 0, kl = 0;
};

double Hsic(double n, const HsicTerms& terms, CkaEstimator estimator) {
  if (estimator == CkaEstimator::kBiased) return terms.cross;
  return (terms.cross + terms.k * terms.l / ((n - 1) * (n - 2)) -
          terms.kl * n / (n - 2)) /
         (n * (n - 3));
}

struct Hsics {
  double xy = 0, xx = 0, yy = 0;
};

absl::StatusOr<double> Ratio(const Hsics& hsics) {
  const double scale = hsics.xx * hsics.yy;
  if (!std::isfinite(scale) || !std::isfinite(hsics.xy)) {
    return absl::InvalidArgumentError("CKA: the features are too large");
  }
  if (!(hsics.xx > 0 && hsics.yy > 0 && scale > 0)) {
    return absl::FailedPreconditionError(
        "CKA: a representation does not vary between the records");
  }
  return hsics.xy / std::sqrt(scale);
}

// Zero if all records are the same.
Eigen::MatrixXd Centred(const MatrixView& x) {
  using RowMajor =
      Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  Eigen::MatrixXd matrix =
      Eigen::Map<const RowMajor>(x.values.data(), x.rows, x.columns);
  const double plain = matrix.squaredNorm();
  const Eigen::RowVectorXd mean = matrix.colwise().mean();
  matrix.rowwise() -= mean;
  if (matrix.squaredNorm() <= kConstantShare * plain) matrix.setZero();
  return matrix;
}

HsicTerms TermsOf(const Eigen::MatrixXd& gram_a,
                  const Eigen::MatrixXd& gram_b) {
  return {gram_a.cwiseProduct(gram_b).sum(), gram_a.trace(), gram_b.trace(),
          gram_a.diagonal().cwiseProduct(gram_b.diagonal()).sum()};
}

Hsics HsicsOf(const MatrixView& x, const MatrixView& y,
              CkaEstimator estimator) {
  const Eigen::MatrixXd x_centred = Centred(x), y_centred = Centred(y);
  const Eigen::MatrixXd gram_x = x_centred * x_centred.transpose();
  const Eigen::MatrixXd gram_y = y_centred * y_centred.transpose();
  const auto n = static_cast<double>(x.rows);
  return {Hsic(n, TermsOf(gram_x, gram_y), estimator),
          Hsic(n, TermsOf(gram_x, gram_x), estimator),
          Hsic(n, TermsOf(gram_y, gram_y), estimator)};
}

}  // namespace

absl::StatusOr<double> LinearCka(const MatrixView& x, const MatrixView& y,
                                 CkaEstimator estimator) {
  FG_RETURN_IF_ERROR(CheckPair(x, y));
  if (x.rows < RecordsMin(estimator)) return TooFewRecords(x.rows, estimator);
  return Ratio(HsicsOf(x, y, estimator));
}

absl::Status MinibatchCka::Add(const MatrixView& x, const MatrixView& y) {
  FG_RETURN_IF_ERROR(CheckPair(x, y));
  if (x.rows < RecordsMin(CkaEstimator::kUnbiased)) {
    return TooFewRecords(x.rows, CkaEstimator::kUnbiased);
  }
  const Hsics hsics = HsicsOf(x, y, CkaEstimator::kUnbiased);
  Merge({hsics.xy, hsics.xx, hsics.yy});
  return absl::OkStatus();
}

void MinibatchCka::Merge(const Sums& sums) {
  sums_.xy += sums.xy;
  sums_.xx += sums.xx;
  sums_.yy += sums.yy;
}

absl::StatusOr<double> MinibatchCka::Cka() const {
  return Ratio({sums_.xy, sums_.xx, sums_.yy});
}

}  // namespace fedgraft
