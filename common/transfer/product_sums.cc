#include "common/transfer/product_sums.h"

#include <algorithm>

#include "common/base/check.h"

namespace fedgraft {
namespace {

// Records added in one pass over the sums, which are larger than the caches.
constexpr int64_t kBlock = 4;

// A few records of `x` and `y`.
struct Block {
  const double* x[kBlock];
  int64_t count;
};

Block BlockAt(const MatrixView& x, int64_t begin) {
  Block block{};
  block.count = std::min(kBlock, x.rows - begin);
  for (int64_t k = 0; k < block.count; ++k) {
    block.x[k] = x.values.data() + (begin + k) * x.columns;
  }
  return block;
}

// out[j - first] += Σ_k x_k[i] x_k[j] for j in [first, last).
void AddRow(const Block& block, int64_t i, int64_t first, int64_t last,
            double* out) {
  if (block.count == kBlock) {
    const double a0 = block.x[0][i], a1 = block.x[1][i];
    const double a2 = block.x[2][i], a3 = block.x[3][i];
    const double* y0 = block.x[0] + first;
    const double* y1 = block.x[1] + first;
    const double* y2 = block.x[2] + first;
    const double* y3 = block.x[3] + first;
    for (int64_t j = 0; j < last - first; ++j) {
      out[j] += a0 * y0[j] + a1 * y1[j] + a2 * y2[j] + a3 * y3[j];
    }
    return;
  }
  for (int64_t k = 0; k < block.count; ++k) {
    const double a = block.x[k][i];
    const double* y = block.x[k] + first;
    for (int64_t j = 0; j < last - first; ++j) out[j] += a * y[j];
  }
}

}  // namespace

int64_t PackedCount(int64_t dim) { return dim * (dim + 1) / 2; }

int64_t PackedIndex(int64_t dim, int64_t i, int64_t j) {
  if (i > j) std::swap(i, j);
  // Rows before i hold dim, dim - 1, … entries.
  return i * dim - i * (i - 1) / 2 + (j - i);
}

void AddSelfProducts(const MatrixView& x, absl::Span<double> packed) {
  const int64_t dim = x.columns;
  FG_CHECK(static_cast<int64_t>(packed.size()) == PackedCount(dim));
  for (int64_t begin = 0; begin < x.rows; begin += kBlock) {
    const Block block = BlockAt(x, begin);
    double* out = packed.data();
    for (int64_t i = 0; i < dim; ++i) {
      AddRow(block, i, i, dim, out);
      out += dim - i;
    }
  }
}

}  // namespace fedgraft
