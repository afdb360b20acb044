#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/shift/random_features.h"
#include "common/shift/sketch_layout.h"
#include "common/transfer/matrix_view.h"

namespace fedgraft {

// Features on at most kSketchProjectionMax orthonormal directions that follow
// from the spec's seed; all of them if there are no more. Immutable.
class SketchProjection {
 public:
  static absl::StatusOr<SketchProjection> Create(const SketchSpec& spec);

  // [n, p] of features [n, d]; a vector longer than kSketchFeatureNormMax is
  // shortened to it. INVALID_ARGUMENT: sizes, or not finite.
  absl::StatusOr<std::vector<double>> Map(const MatrixView& features) const;

 private:
  SketchProjection(int64_t dim, int64_t projected)
      : dim_(dim), projected_(projected) {}
  int64_t dim_, projected_;
  std::vector<double> directions_;  // [d, p]; empty: the identity
};

// The space in which all sites are compared: the pooled features' principal
// subspace of k dimensions, where the pooled mean is 0 and the pooled
// covariance the identity.
//
// Its axes are a fixed frame laid into that subspace and whitened by Cholesky,
// not eigenvectors: unlike those, which turn freely where eigenvalues are
// close, they depend smoothly on the sums, so that machines whose rounding
// differs agree on them.
//
// Immutable; thread-safe.
class SketchSpace {
 public:
  // `moments`: pooled sums that CheckSketch accepts. k is at most
  // kSketchDimsMax and a tenth of the mean number of records of a site; within
  // a quarter of that it lies where the eigenvalues fall most.
  // FAILED_PRECONDITION: features that do not vary.
  static absl::StatusOr<SketchSpace> Create(const SketchSpec& spec,
                                            const SketchLayout& layout,
                                            absl::Span<const double> moments);

  int64_t dims() const { return dims_; }
  // Of the first of them: those that the pooled head sees.
  int64_t head_dims() const { return head_dims_; }

  // z [n, k] of projected features [n, p], |z| <= kSketchSpaceNormMax.
  absl::StatusOr<std::vector<double>> Map(const MatrixView& projected) const;
  const RandomFeatures& random_features() const { return random_features_; }
  // Of a value; ten bins, each a tenth of a normal distribution with the pooled
  // mean and deviation. REQUIRES: the spec has acquisition numbers.
  int AcquisitionBin(int which, double value) const;

 private:
  explicit SketchSpace(RandomFeatures random_features)
      : random_features_(std::move(random_features)) {}
  int64_t dims_ = 0, head_dims_ = 0;
  std::vector<double> mean_;  // [p]
  std::vector<double> axes_;  // [p, k]
  RandomFeatures random_features_;
  std::vector<double> acquisition_mean_, acquisition_deviation_;
};

// Cut to [-kAcquisitionMax, kAcquisitionMax].
double CutAcquisition(double value);

}  // namespace fedgraft
