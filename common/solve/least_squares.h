#pragma once

#include "absl/types/span.h"
#include "common/solve/head_solver.h"

namespace fedgraft {

// The sums of a least-squares head over one-hot labels.
struct LeastSquares {
  int classes = 2;
  int64_t feature_dim = 1;
  double records = 0;
  absl::Span<const double> class_counts;  // [classes]
  absl::Span<const double> feature_sums;  // [feature_dim]
  absl::Span<const double> gram;          // packed symmetric
  absl::Span<const double> cross;         // [classes][feature_dim]
};

// W = (Zc' Zc + lambda I)^-1 Zc' Yc of the centred problem, and the intercept
// that goes with it. A matrix that is singular (lambda 0) is damped.
SolvedHead SolveLeastSquares(const LeastSquares& problem, double lambda);

}  // namespace fedgraft
