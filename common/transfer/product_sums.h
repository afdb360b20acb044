#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "common/transfer/matrix_view.h"

// Sums over records of products of features, as flat doubles. A symmetric
// [d, d] matrix is packed: its upper triangle, row by row.
//
// Every entry adds the records in the same order and way, wherever it lies:
// for equal features all three kinds of sums hold the same bits.

namespace fedgraft {

int64_t PackedCount(int64_t dim);
// Of entry (i, j) or (j, i). REQUIRES: 0 <= i, j < dim.
int64_t PackedIndex(int64_t dim, int64_t i, int64_t j);

// packed += XᵀX. REQUIRES: packed has PackedCount(x.columns) entries.
void AddSelfProducts(const MatrixView& x, absl::Span<double> packed);
// sums [x.columns, y.columns] += XᵀY. REQUIRES: as many rows in both.
void AddCrossProducts(const MatrixView& x, const MatrixView& y,
                      absl::Span<double> sums);

}  // namespace fedgraft
