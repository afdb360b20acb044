#include "common/transfer/transferability.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/transfer/packed_symmetric.h"
#include "common/transfer/product_sums.h"
#include "common/transfer/spectrum.h"

namespace fedgraft {
namespace {

constexpr int kStepsMax = 11;
constexpr double kStepTolerance = 0.01;
constexpr double kSmallestError = 1e-12;

absl::Status CheckLabelled(const FeatureMoments& moments) {
  double labelled = 0;
  int present = 0;
  for (int c = 0; c < moments.layout().num_classes(); ++c) {
    labelled += moments.class_count(c);
    if (moments.class_count(c) > 0) ++present;
  }
  if (labelled != moments.n()) {
    return absl::FailedPreconditionError(
        absl::StrCat("transferability: ", labelled, " of ", moments.n(),
                     " records have a label; all need one"));
  }
  if (present >= 2) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("transferability: expected records of at least 2 classes, "
                   "not of ",
                   present));
}

Eigen::VectorXd AsVector(absl::Span<const double> values) {
  return Eigen::Map<const Eigen::VectorXd>(values.data(),
                                           static_cast<int64_t>(values.size()));
}

// Bayesian regression of y on F in the coordinates of FᵀF's eigenvectors.
class Evidence {
 public:
  // `spectrum` of FᵀF; `projections` VᵀFᵀy [d]; `square` yᵀy > 0.
  Evidence(const Spectrum& spectrum, const Eigen::VectorXd& projections,
           double square, double n)
      : values_(spectrum.values.head(spectrum.rank).array()),
        squares_(projections.head(spectrum.rank).array().square()),
        inside_(squares_ / values_),
        outside_(std::max(square - inside_.sum(), 0.0)),
        square_(square),
        n_(n) {}

  // log p(y) / n at the fixed point.
  double Mean() const {
    if (!(inside_.sum() > 0)) {  // no feature helps: α is infinite
      return 0.5 * (std::log(n_ / square_) - 1 - kLog2Pi);
    }
    double alpha = 1, beta = 1, ratio = 1, weights = 0, error = 0;
    for (int step = 0; step < kStepsMax; ++step) {
      // ‖m‖² and ‖y - Fm‖² of the posterior mean m, and n less the number of
      // effective parameters. The last two are sums of positive terms, not
      // differences, so that they stay precise where the fit is good.
      weights = (squares_ / (values_ + ratio).square()).sum();
      error = outside_ + (inside_ * (ratio / (values_ + ratio)).square()).sum();
      error = std::max(error, kSmallestError * square_);
      const Eigen::ArrayXd damped = ratio / (values_ + ratio);
      const auto rank = static_cast<double>(values_.size());
      alpha = (rank - damped.sum()) / weights;
      beta = (std::max(n_ - rank, 0.0) + damped.sum()) / error;
      const double next = alpha / beta;
      const bool converged = std::abs(next - ratio) < kStepTolerance * ratio;
      ratio = next;
      if (converged) break;
    }
    // Directions that F does not span cancel from the determinant.
    return 0.5 *
           (static_cast<double>(values_.size()) * std::log(alpha) +
            n_ * std::log(beta) - (alpha + beta * values_).log().sum() -
            beta * error - alpha * weights - n_ * kLog2Pi) /
           n_;
  }

 private:
  static constexpr double kLog2Pi = 1.8378770664093454836;
  Eigen::ArrayXd values_;   // s, of the directions that F spans
  Eigen::ArrayXd squares_;  // z²
  // What of yᵀy lies in each of those directions, and outside all.
  Eigen::ArrayXd inside_;
  double outside_, square_, n_;
};

// Ledoit and Wolf, "A well-conditioned estimator for large-dimensional
// covariance matrices", 2004, section 3.3: min(b², d²) / d², from sums.
double Shrinkage(const FeatureMoments& moments,
                 const Eigen::MatrixXd& covariance) {
  const double n = moments.n();
  const Eigen::VectorXd mean = AsVector(moments.Sum()) / n;
  const double square = mean.squaredNorm(), trace = covariance.trace();
  // Σ‖f - mean‖⁴, multiplied out.
  const double fourth =
      moments.fourth_powers() + 4 * n * mean.dot(covariance * mean) +
      n * square * square - 4 * mean.dot(AsVector(moments.WeightedSum())) +
      2 * square * n * (trace + square);
  const double squared_norm = covariance.squaredNorm();
  const auto d = static_cast<double>(mean.size());
  const double distance = squared_norm - trace * trace / d;
  if (!(distance > 0)) return 0;  // isotropic: there is nothing to shrink to
  const double error = (fourth / n - squared_norm) / n;
  return std::clamp(error / distance, 0.0, 1.0);
}

absl::Status DoNotVary() {
  return absl::FailedPreconditionError(
      "transferability: the features do not vary between the records");
}

// How labelled features vary.
struct Spread {
  Eigen::MatrixXd covariance;
  Spectrum within;
  Eigen::ArrayXd between;  // variance of the class means along each eigenvector
};

absl::StatusOr<Spread> SpreadOf(const FeatureMoments& moments) {
  FG_RETURN_IF_ERROR(CheckLabelled(moments));
  FG_ASSIGN_OR_RETURN(const std::vector<double> flat, moments.Covariance());
  const int64_t dim = moments.layout().feature_dim();
  Spread spread;
  spread.covariance = Eigen::Map<const Eigen::MatrixXd>(flat.data(), dim, dim);
  FG_ASSIGN_OR_RETURN(spread.within, SpectrumOf(spread.covariance));
  if (spread.within.rank == 0) return DoNotVary();
  const double n = moments.n();
  const Eigen::VectorXd mean = AsVector(moments.Sum()) / n;
  spread.between = Eigen::ArrayXd::Zero(dim);
  for (int c = 0; c < moments.layout().num_classes(); ++c) {
    const double count = moments.class_count(c);
    if (!(count > 0)) continue;
    const Eigen::VectorXd offset = AsVector(moments.ClassSum(c)) / count - mean;
    spread.between +=
        count / n *
        (spread.within.vectors.transpose() * offset).array().square();
  }
  return spread;
}

double Plain(const Spread& spread) {
  const int64_t rank = spread.within.rank;
  return (spread.between.head(rank) / spread.within.values.array().head(rank))
      .sum();
}

}  // namespace

absl::StatusOr<double> LogMe(const FeatureMoments& moments) {
  FG_RETURN_IF_ERROR(CheckLabelled(moments));
  const FeatureMomentsLayout& layout = moments.layout();
  FG_ASSIGN_OR_RETURN(
      const Spectrum spectrum,
      SpectrumOf(UnpackSymmetric(moments.Products(), layout.feature_dim())));
  double sum = 0;
  int present = 0;
  for (int c = 0; c < layout.num_classes(); ++c) {
    const double count = moments.class_count(c);
    if (!(count > 0)) continue;
    sum +=
        Evidence(spectrum,
                 spectrum.vectors.transpose() * AsVector(moments.ClassSum(c)),
                 count, moments.n())
            .Mean();
    ++present;
  }
  return sum / present;
}

absl::StatusOr<HScore> ComputeHScore(const FeatureMoments& moments) {
  if (!moments.has_norms()) {
    return absl::FailedPreconditionError(
        "transferability: the shrunk H-score expects sums of the features' "
        "norms, which nobody took");
  }
  FG_ASSIGN_OR_RETURN(const Spread spread, SpreadOf(moments));
  const Eigen::ArrayXd values = spread.within.values.array();
  HScore score;
  score.plain = Plain(spread);
  score.shrinkage = Shrinkage(moments, spread.covariance);
  const double kept = 1 - score.shrinkage;
  const double floor = score.shrinkage * spread.covariance.trace() /
                       static_cast<double>(values.size());
  // Without shrinkage, directions without variance count nothing, as in Σ⁺.
  score.shrunk =
      ((kept * values + floor) > 0)
          .select(kept * spread.between / (kept * values + floor), 0.0)
          .sum();
  return score;
}

absl::StatusOr<double> PlainHScore(const FeatureMoments& moments) {
  FG_ASSIGN_OR_RETURN(const Spread spread, SpreadOf(moments));
  return Plain(spread);
}

absl::StatusOr<double> EffectiveDimension(const FeatureMoments& moments) {
  FG_ASSIGN_OR_RETURN(const std::vector<double> covariance,
                      moments.Covariance());
  const int64_t dim = moments.layout().feature_dim();
  const Eigen::Map<const Eigen::MatrixXd> matrix(covariance.data(), dim, dim);
  const double trace = matrix.trace();
  // Less is rounding, as for kRankTolerance.
  double plain = 0;
  for (int64_t j = 0; j < dim; ++j) {
    plain += moments.Products()[PackedIndex(dim, j, j)];
  }
  if (!(trace * moments.n() > kRankTolerance * plain)) return DoNotVary();
  return trace * trace / matrix.squaredNorm();
}

}  // namespace fedgraft
