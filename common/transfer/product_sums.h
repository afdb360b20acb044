#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "common/transfer/matrix_view.h"

// Sums over records of products of features, as flat doubles. A symmetric
// [d, d] matrix is packed: its upper triangle, row by row.
//
// Every entry adds the records in the same order and way, wherever it lies.

namespace fedgraft {

int64_t PackedCount(int64_t dim);
// Of entry (i, j) or (j, i). REQUIRES: 0 <= i, j < dim.
int64_t PackedIndex(int64_t dim, int64_t i, int64_t j);

// packed += XᵀX. REQUIRES: packed has PackedCount(x.columns) entries.
void AddSelfProducts(const MatrixView& x, absl::Span<double> packed);

}  // namespace fedgraft
