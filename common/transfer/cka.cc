#include "common/transfer/cka.h"

#include <Eigen/Core>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/transfer/packed_symmetric.h"
#include "common/transfer/product_sums.h"

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

// Where the sums lie.
struct Layout {
  Layout(int64_t p, int64_t q)
      : x(4),
        kx(x + p),
        lx(kx + p),
        y(lx + p),
        ky(y + q),
        ly(ky + q),
        xx(ly + q),
        yy(xx + PackedCount(p)),
        xy(yy + PackedCount(q)),
        count(xy + p * q) {}
  static constexpr int64_t kl = 1, kk = 2, ll = 3;
  int64_t x, kx, lx, y, ky, ly, xx, yy, xy, count;
};

// Plain sums of a pair of representations A and B.
struct PairSums {
  double n = 0, kl = 0;
  Eigen::VectorXd a, b;    // Σa, Σb
  Eigen::VectorXd la, kb;  // Σ‖b‖²a, Σ‖a‖²b
  Eigen::MatrixXd ab;      // Σabᵀ
  double k = 0, l = 0;     // Σ‖a‖², Σ‖b‖²
};

HsicTerms Centre(const PairSums& sums) {
  const double n = sums.n;
  const Eigen::VectorXd mean_a = sums.a / n, mean_b = sums.b / n;
  const double square_a = mean_a.squaredNorm(), square_b = mean_b.squaredNorm();
  HsicTerms terms;
  terms.k = sums.k - n * square_a;
  terms.l = sums.l - n * square_b;
  if (terms.k <= kConstantShare * sums.k ||
      terms.l <= kConstantShare * sums.l) {
    return HsicTerms{};
  }
  terms.cross = (sums.ab - sums.a * mean_b.transpose()).squaredNorm();
  terms.kl = sums.kl - 2 * (mean_b.dot(sums.kb) + mean_a.dot(sums.la)) +
             4 * mean_a.dot(sums.ab * mean_b) + square_b * sums.k +
             square_a * sums.l - 3 * n * square_a * square_b;
  return terms;
}

Eigen::VectorXd Vector(absl::Span<const double> sums, int64_t at, int64_t dim) {
  return Eigen::Map<const Eigen::VectorXd>(sums.data() + at, dim);
}

void AddScaled(double factor, absl::Span<const double> record, double* sums) {
  for (size_t j = 0; j < record.size(); ++j) sums[j] += factor * record[j];
}

double Square(absl::Span<const double> record) {
  double sum = 0;
  for (double value : record) sum += value * value;
  return sum;
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
  xy_ += hsics.xy;
  xx_ += hsics.xx;
  yy_ += hsics.yy;
  return absl::OkStatus();
}

absl::StatusOr<double> MinibatchCka::Cka() const {
  return Ratio({xy_, xx_, yy_});
}

CkaMoments::CkaMoments(int64_t x_dim, int64_t y_dim)
    : x_dim_(x_dim), y_dim_(y_dim), sums_(Layout(x_dim, y_dim).count) {}

absl::StatusOr<CkaMoments> CkaMoments::Create(int64_t x_dim, int64_t y_dim) {
  if (x_dim < 1 || x_dim > kDimMax || y_dim < 1 || y_dim > kDimMax) {
    return absl::InvalidArgumentError(absl::StrCat("CKA: expected 1 to ",
                                                   kDimMax, " features, not ",
                                                   x_dim, " and ", y_dim));
  }
  return CkaMoments(x_dim, y_dim);
}

absl::StatusOr<CkaMoments> CkaMoments::FromSums(int64_t x_dim, int64_t y_dim,
                                                std::vector<double> sums) {
  FG_ASSIGN_OR_RETURN(CkaMoments moments, Create(x_dim, y_dim));
  if (sums.size() != moments.sums_.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "CKA: ", moments.sums_.size(), " sums expected for ", x_dim, " and ",
        y_dim, " features, ", sums.size(), " came"));
  }
  FG_RETURN_IF_ERROR(
      CheckMatrix({sums, 1, static_cast<int64_t>(sums.size())}, "CKA, sums"));
  moments.sums_ = std::move(sums);
  return moments;
}

absl::Status CkaMoments::Add(const MatrixView& x, const MatrixView& y) {
  FG_RETURN_IF_ERROR(CheckPair(x, y));
  if (x.columns != x_dim_ || y.columns != y_dim_) {
    return absl::InvalidArgumentError(
        absl::StrCat("CKA: expected ", x_dim_, " and ", y_dim_,
                     " features, not ", x.columns, " and ", y.columns));
  }
  const Layout at(x_dim_, y_dim_);
  double* sums = sums_.data();
  for (int64_t i = 0; i < x.rows; ++i) {
    const absl::Span<const double> a = x.Row(i), b = y.Row(i);
    const double k = Square(a), l = Square(b);
    sums[0] += 1;
    sums[at.kl] += k * l;
    sums[at.kk] += k * k;
    sums[at.ll] += l * l;
    AddScaled(1, a, sums + at.x);
    AddScaled(k, a, sums + at.kx);
    AddScaled(l, a, sums + at.lx);
    AddScaled(1, b, sums + at.y);
    AddScaled(k, b, sums + at.ky);
    AddScaled(l, b, sums + at.ly);
  }
  const absl::Span<double> all = absl::MakeSpan(sums_);
  AddSelfProducts(x, all.subspan(at.xx, PackedCount(x_dim_)));
  AddSelfProducts(y, all.subspan(at.yy, PackedCount(y_dim_)));
  AddCrossProducts(x, y, all.subspan(at.xy, x_dim_ * y_dim_));
  return absl::OkStatus();
}

absl::Status CkaMoments::Merge(const CkaMoments& other) {
  if (other.x_dim_ != x_dim_ || other.y_dim_ != y_dim_) {
    return absl::InvalidArgumentError(
        absl::StrCat("CKA: expected ", x_dim_, " and ", y_dim_,
                     " features, not ", other.x_dim_, " and ", other.y_dim_));
  }
  for (size_t i = 0; i < sums_.size(); ++i) sums_[i] += other.sums_[i];
  return absl::OkStatus();
}

absl::StatusOr<double> CkaMoments::Cka(CkaEstimator estimator) const {
  const double n = sums_[0];
  if (!(n >= RecordsMin(estimator))) return TooFewRecords(n, estimator);
  const Layout at(x_dim_, y_dim_);
  const Eigen::VectorXd x = Vector(sums_, at.x, x_dim_);
  const Eigen::VectorXd y = Vector(sums_, at.y, y_dim_);
  const Eigen::VectorXd kx = Vector(sums_, at.kx, x_dim_);
  const Eigen::VectorXd ly = Vector(sums_, at.ly, y_dim_);
  const absl::Span<const double> all = sums_;
  const Eigen::MatrixXd xx =
      UnpackSymmetric(all.subspan(at.xx, PackedCount(x_dim_)), x_dim_);
  const Eigen::MatrixXd yy =
      UnpackSymmetric(all.subspan(at.yy, PackedCount(y_dim_)), y_dim_);
  // [p, q] row by row is [q, p] column by column.
  const Eigen::MatrixXd xy =
      Eigen::Map<const Eigen::MatrixXd>(sums_.data() + at.xy, y_dim_, x_dim_)
          .transpose();
  const double k = xx.trace(), l = yy.trace();
  const PairSums pair_xy{n,
                         sums_[at.kl],
                         x,
                         y,
                         Vector(sums_, at.lx, x_dim_),
                         Vector(sums_, at.ky, y_dim_),
                         xy,
                         k,
                         l};
  const PairSums pair_xx{n, sums_[at.kk], x, x, kx, kx, xx, k, k};
  const PairSums pair_yy{n, sums_[at.ll], y, y, ly, ly, yy, l, l};
  return Ratio({Hsic(n, Centre(pair_xy), estimator),
                Hsic(n, Centre(pair_xx), estimator),
                Hsic(n, Centre(pair_yy), estimator)});
}

}  // namespace fedgraft
