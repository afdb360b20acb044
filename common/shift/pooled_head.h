#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/shift/efficient_score.h"
#include "common/transfer/matrix_view.h"

namespace fedgraft {

// A multinomial logistic head that follows, by damped Newton steps, from sums
// of the sites' losses, gradients and informations at points that it names. A
// weak pull (half of kSlopeRidge times the squared slopes, in the common space
// where features have deviation 1) gives separable records a solution.
//
// A pure function of the sums: all that add the same have the same head. Not
// thread-safe.
class PooledHead {
 public:
  static constexpr double kSlopeRidge = 0.3, kInterceptRidge = 0.01;

  PooledHead(int num_classes, int64_t dims);

  int num_classes() const { return num_classes_; }
  int64_t dims() const { return dims_; }
  // Where sums are wanted; once done, the head. [C - 1, 1 + dims].
  const std::vector<double>& coefficients() const { return trial_; }
  // The last step changed less than shows, or there were kSketchHeadStepsMax.
  bool done() const { return done_; }
  // Pooled: the loss, its gradient's negative (the score), the information,
  // packed, at coefficients(). INVALID_ARGUMENT: sizes, not finite.
  // REQUIRES: not done.
  absl::Status Add(double loss, absl::Span<const double> score,
                   absl::Span<const double> information);

 private:
  int num_classes_;
  int64_t dims_;
  std::vector<double> trial_, best_, step_;
  double best_objective_ = 0;
  double length_ = 1;  // of the step from best_ to trial_
  int steps_ = 0;
  bool done_ = false;
};

// The others' sums at the pooled head, and records that stand in for theirs:
// drawn with the mean and covariance of their features.
struct OthersAtPooledHead {
  absl::Span<const double> score, information;
  MatrixView stand_ins;  // [m, dims]
};

// The head of all other sites. At the pooled head their sums are known; how
// their information changes from there, which counts where the site has pulled
// the pooled head far from theirs, is taken from the stand-ins. Where that has
// no solution: one Newton step. Its covariance is the inverse of the others'
// information plus the weak pull. FAILED_PRECONDITION: others' records leave the head open.
absl::StatusOr<ReferenceHead> LeaveOneOutHead(const PooledHead& pooled,
                                              const OthersAtPooledHead& others);

}  // namespace fedgraft
