#pragma once

#include <Eigen/Core>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/transfer/matrix_view.h"

// For .cc files that fit or test multinomial logistic heads.

namespace fedgraft {

using RowMajorMatrix =
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Records (1, f) and labels 0..C-1, and what a head with coefficients
// [C - 1, 1 + k] (flat, contrast by contrast; class 0 is the baseline) makes of
// them.
class LogisticSample {
 public:
  // A class may lack records. `labels` outlive it. INVALID_ARGUMENT: sizes,
  // values, labels outside.
  static absl::StatusOr<LogisticSample> Create(const MatrixView& features,
                                               absl::Span<const int64_t> labels,
                                               int num_classes);

  int64_t contrasts() const { return contrasts_; }
  int64_t width() const { return rows_.cols(); }
  int64_t n() const { return rows_.rows(); }
  int64_t unknowns() const { return contrasts_ * width(); }
  const RowMajorMatrix& rows() const { return rows_; }  // [n, 1 + k]

  // Of classes 1.., [n, C - 1].
  RowMajorMatrix Probabilities(const Eigen::VectorXd& coefficients) const;
  // Labels as indicators of classes 1.. less their probabilities.
  RowMajorMatrix Residuals(const Eigen::VectorXd& coefficients) const;
  // Gradient of the log likelihood and its Fisher information.
  void Derive(const Eigen::VectorXd& coefficients, Eigen::VectorXd& score,
              Eigen::MatrixXd& information) const;
  // A record's is at least kLogLikelihoodMin.
  double LogLikelihood(const Eigen::VectorXd& coefficients) const;

  static constexpr double kLogLikelihoodMin = -690;

 private:
  RowMajorMatrix rows_;
  absl::Span<const int64_t> labels_;
  int64_t contrasts_ = 1;
};

}  // namespace fedgraft
