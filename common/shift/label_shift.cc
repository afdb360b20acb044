#include "common/shift/label_shift.h"

#include <Eigen/Cholesky>
#include <Eigen/SVD>
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

using RowMajor =
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr int kIterationsMax = 10000;
constexpr double kTolerance = 1e-10;  // of the L1 norm of a step
constexpr double kSumTolerance = 1e-6;
constexpr double kLengthMin = 1.01;     // of an extrapolation; 1 is none
constexpr double kLogRounding = 1e-13;  // of a mean of logarithms

absl::Status CheckPrior(absl::Span<const double> prior, int64_t classes,
                        bool positive) {
  if (static_cast<int64_t>(prior.size()) != classes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "prior: expected ", classes, " classes, not ", prior.size()));
  }
  double sum = 0;
  for (double p : prior) {
    if (!(p >= 0) || (positive && !(p > 0))) {
      return absl::InvalidArgumentError(
          absl::StrCat("prior: expected probabilities",
                       positive ? " above 0" : "", ", not ", p));
    }
    sum += p;
  }
  if (!(std::abs(sum - 1) < kSumTolerance)) {
    return absl::InvalidArgumentError(
        absl::StrCat("prior: expected a sum of 1, not ", sum));
  }
  return absl::OkStatus();
}

absl::Status CheckPosteriors(const MatrixView& posteriors) {
  FG_RETURN_IF_ERROR(CheckMatrix(posteriors, "posteriors"));
  if (posteriors.rows < 1 || posteriors.columns < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("posteriors: expected a record and two classes, not ",
                     posteriors.rows, " x ", posteriors.columns));
  }
  for (int64_t r = 0; r < posteriors.rows; ++r) {
    double sum = 0;
    for (double p : posteriors.Row(r)) {
      if (p < 0) {
        return absl::InvalidArgumentError(
            absl::StrCat("posteriors: row ", r, " has ", p));
      }
      sum += p;
    }
    if (!(std::abs(sum - 1) < kSumTolerance)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "posteriors: row ", r, " adds up to ", sum, "; expected 1"));
    }
  }
  return absl::OkStatus();
}

// Standard deviations of the maximum likelihood estimate, in the simplex: the
// information of q over directions that add up to 0. That of a share of 0 is
// what a little more of it would tell.
std::vector<double> Deviations(const RowMajor& ratios,
                               const Eigen::VectorXd& q) {
  const int64_t classes = q.size();
  int64_t last = 0;
  q.maxCoeff(&last);
  // Score of record i in direction e_c - e_last: (r_ic - r_ilast) / (r_i q).
  const Eigen::VectorXd mixture = ratios * q;
  Eigen::MatrixXd scores(ratios.rows(), classes - 1);
  for (int64_t c = 0, j = 0; c < classes; ++c) {
    if (c == last) continue;
    scores.col(j++) =
        (ratios.col(c) - ratios.col(last)).array() / mixture.array();
  }
  const Eigen::MatrixXd information = scores.transpose() * scores;
  const Eigen::MatrixXd covariance = information.ldlt().solve(
      Eigen::MatrixXd::Identity(classes - 1, classes - 1));
  std::vector<double> deviations(classes);
  for (int64_t c = 0, j = 0; c < classes; ++c) {
    const double variance = c == last ? covariance.sum() : covariance(j, j);
    if (c != last) ++j;
    deviations[c] = std::sqrt(std::max(variance, 0.0));
  }
  return deviations;
}

// Likelihood of shares under which records come from densities that are to each
// other as each record's ratios.
class MixtureLikelihood {
 public:
  explicit MixtureLikelihood(const RowMajor& ratios)
      : ratios_(ratios), mixture_(ratios.rows()) {}
  // One step of EM.
  void Step(const Eigen::VectorXd& q, Eigen::VectorXd& next) {
    mixture_.noalias() = ratios_ * q;
    mixture_ = mixture_.cwiseInverse();
    next.noalias() = ratios_.transpose() * mixture_;
    next = next.cwiseProduct(q);
    next /= next.sum();
  }
  double MeanLog(const Eigen::VectorXd& q) {
    mixture_.noalias() = ratios_ * q;
    return mixture_.array().log().mean();
  }

 private:
  const Eigen::MatrixXd ratios_;  // column by column
  Eigen::VectorXd mixture_;
};

// EM, extrapolated after every two steps as far as their lengths tell (squared
// iterative methods, Varadhan and Roland 2008): where the likelihood is flat,
// EM alone needs thousands. What does not raise it is not taken.
absl::StatusOr<Eigen::VectorXd> MaximizeLikelihood(
    const RowMajor& ratios, const Eigen::VectorXd& source, int& iterations) {
  MixtureLikelihood likelihood(ratios);
  Eigen::VectorXd q = source, once(q.size()), twice(q.size());
  while (iterations < kIterationsMax) {
    ++iterations;
    likelihood.Step(q, once);
    const Eigen::VectorXd first = once - q;
    if (first.lpNorm<1>() < kTolerance) return once;
    ++iterations;
    likelihood.Step(once, twice);
    const Eigen::VectorXd bend = twice - once - first;
    double length = bend.norm() > 0 ? first.norm() / bend.norm() : 1;
    const auto reach = [&]() -> Eigen::VectorXd {
      return q + 2 * length * first + length * length * bend;
    };
    while (length > kLengthMin && !(reach().minCoeff() > 0)) {
      length = (1 + length) / 2;
    }
    if (length > kLengthMin && likelihood.MeanLog(reach()) >=
                                   likelihood.MeanLog(twice) - kLogRounding) {
      q = reach();
    } else {
      q = twice;
    }
  }
  return absl::AbortedError(absl::StrCat("prior: no convergence in ",
                                         kIterationsMax, " steps of EM"));
}

}  // namespace

absl::StatusOr<PriorEstimate> EstimatePriorEm(
    const MatrixView& posteriors, absl::Span<const double> source_prior) {
  FG_RETURN_IF_ERROR(CheckPosteriors(posteriors));
  const int64_t classes = posteriors.columns;
  FG_RETURN_IF_ERROR(CheckPrior(source_prior, classes, true));
  const Eigen::Map<const Eigen::VectorXd> source(source_prior.data(), classes);
  RowMajor ratios = Eigen::Map<const RowMajor>(posteriors.values.data(),
                                               posteriors.rows, classes);
  for (int64_t c = 0; c < classes; ++c) ratios.col(c) /= source[c];
  PriorEstimate estimate;
  FG_ASSIGN_OR_RETURN(const Eigen::VectorXd q,
                      MaximizeLikelihood(ratios, source, estimate.iterations));
  estimate.prior.assign(q.data(), q.data() + classes);
  estimate.deviation = Deviations(ratios, q);
  estimate.log_likelihood_gain = (ratios * q).array().log().mean() -
                                 (ratios * source).array().log().mean();
  return estimate;
}

absl::StatusOr<BlackBoxEstimate> EstimatePriorBlackBox(
    const MatrixView& confusion, absl::Span<const double> predicted) {
  FG_RETURN_IF_ERROR(CheckMatrix(confusion, "confusion"));
  const int64_t classes = confusion.columns;
  if (confusion.rows != classes || classes < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("confusion: expected a square matrix of two classes or "
                     "more, not ",
                     confusion.rows, " x ", classes));
  }
  FG_RETURN_IF_ERROR(CheckPrior(predicted, classes, false));
  const Eigen::MatrixXd joint =
      Eigen::Map<const RowMajor>(confusion.values.data(), classes, classes);
  if (joint.minCoeff() < 0 || !(std::abs(joint.sum() - 1) < kSumTolerance)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "confusion: expected joint probabilities that add up to 1, not to ",
        joint.sum()));
  }
  const Eigen::JacobiSVD<Eigen::MatrixXd> svd(
      joint, Eigen::ComputeThinU | Eigen::ComputeThinV);
  BlackBoxEstimate estimate;
  estimate.sigma_min = svd.singularValues()[classes - 1];
  if (!(estimate.sigma_min >= kSigmaMin)) {
    return absl::FailedPreconditionError(
        absl::StrCat("confusion: its smallest singular value is ",
                     estimate.sigma_min, "; expected ", kSigmaMin,
                     " or more, or predictions tell too little of the labels"));
  }
  const Eigen::VectorXd weights =
      svd.solve(Eigen::Map<const Eigen::VectorXd>(predicted.data(), classes))
          .cwiseMax(0);
  Eigen::VectorXd prior =
      weights.cwiseProduct(joint.colwise().sum().transpose());
  prior /= prior.sum();
  estimate.weights.assign(weights.data(), weights.data() + classes);
  estimate.prior.assign(prior.data(), prior.data() + classes);
  return estimate;
}

absl::StatusOr<std::vector<double>> CorrectPosteriors(
    const MatrixView& posteriors, absl::Span<const double> source_prior,
    absl::Span<const double> target_prior) {
  FG_RETURN_IF_ERROR(CheckPosteriors(posteriors));
  FG_RETURN_IF_ERROR(CheckPrior(source_prior, posteriors.columns, true));
  FG_RETURN_IF_ERROR(CheckPrior(target_prior, posteriors.columns, false));
  std::vector<double> corrected(posteriors.values.begin(),
                                posteriors.values.end());
  for (int64_t r = 0; r < posteriors.rows; ++r) {
    double* row = corrected.data() + r * posteriors.columns;
    double sum = 0;
    for (int64_t c = 0; c < posteriors.columns; ++c) {
      row[c] *= target_prior[c] / source_prior[c];
      sum += row[c];
    }
    if (!(sum > 0)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "posteriors: row ", r,
          " has all its probability on classes of target prior 0"));
    }
    for (int64_t c = 0; c < posteriors.columns; ++c) row[c] /= sum;
  }
  return corrected;
}

}  // namespace fedgraft
