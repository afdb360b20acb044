#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"

// The head on frozen features, solved exactly: what a site is asked in a solve
// round. methods: multinomial logistic regression by Newton's method and least
// squares, whose statistics are sums over records.
//
// Symmetric softmax over C classes has one redundant row: it is solved in C - 1
// orthonormal contrasts, W = Q' V, under which the penalty keeps its value.

namespace fedgraft {

enum class SolveStage {
  kMoments = 1,   // records, classes, sums and squares of the features
  kGram = 2,      // Z'DZ, D the records' curvatures at a point
  kCross = 3,     // Z'Z and Z'Y: least squares
  kGradient = 4,  // loss and gradient at a point
  kHessian = 5,   // and the Hessian
  kValidate = 6,  // losses of candidates on the validation records
};

// z = (f - mean) * scale are the features that the solver sees, followed by a 1
// for the intercept.
struct SolvePoint {
  static constexpr int kClassesMax = 1000;
  static constexpr int64_t kFeaturesMax = 65536;
  // Of a point's weights: more is no head.
  static constexpr uint64_t kWeightsMax = uint64_t{1} << 24;

  SolveStage stage = SolveStage::kMoments;
  int classes = 2;
  int64_t feature_dim = 1;
  // [feature_dim] each, or empty: the features as they are, or, if per_site,
  // normalised by each site's own moments.
  std::vector<double> mean, scale;
  bool per_site = false;
  // kGram, kGradient, kHessian: [classes - 1][feature_dim + 1], in contrasts.
  // kValidate: [candidates][classes][feature_dim + 1].
  std::vector<double> weights;
  int candidates = 0;
  double hessian_scale = 1;

  // Of one class or contrast: its slopes, then its intercept.
  int64_t row() const { return feature_dim + 1; }
  int64_t variables() const { return (classes - 1) * row(); }
};

// Canonical bytes; their SHA-256 names the point.
Bytes EncodeSolvePoint(const SolvePoint& point);
// INVALID_ARGUMENT: not such bytes, sizes that do not fit each other or exceed
// the limits, or a number that is not finite.
absl::StatusOr<SolvePoint> DecodeSolvePoint(ByteSpan bytes);

// Q, [classes - 1][classes]: orthonormal rows, each orthogonal to the ones
// vector (Helmert's contrasts).
std::vector<double> HelmertContrasts(int classes);

}  // namespace fedgraft
