#include "common/transfer/packed_symmetric.h"

#include "common/base/check.h"
#include "common/transfer/product_sums.h"

namespace fedgraft {

Eigen::MatrixXd UnpackSymmetric(absl::Span<const double> packed, int64_t dim) {
  FG_CHECK(static_cast<int64_t>(packed.size()) == PackedCount(dim));
  Eigen::MatrixXd matrix(dim, dim);
  const double* next = packed.data();
  for (int64_t i = 0; i < dim; ++i) {
    for (int64_t j = i; j < dim; ++j) matrix(i, j) = matrix(j, i) = *next++;
  }
  return matrix;
}

}  // namespace fedgraft
