#pragma once

#include <Eigen/Core>
#include <cstdint>

#include "absl/types/span.h"

// For .cc files of this folder and of common/solve.

namespace fedgraft {

// A symmetric matrix from its packed upper triangle, row by row.
// REQUIRES: packed has PackedCount(dim) entries (product_sums.h).
Eigen::MatrixXd UnpackSymmetric(absl::Span<const double> packed, int64_t dim);

}  // namespace fedgraft
