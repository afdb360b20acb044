#pragma once

#include <cstddef>
#include <cstdint>

// The inner loops of dense_products.h and sin_cos.h, once for each instruction
// set that the processor may have. Unlike those of ring_kernels.h they may
// round differently: some fuse a product with a sum. Callers check sizes; there
// is nothing to call here from outside of common/numeric.

namespace fedgraft {

// out [rows, columns] += a [rows, inner] b [inner, columns]; `out` overlaps
// neither.
struct ProductTask {
  // Entry (i, k) is a[i * a_row + k * a_column]: of a transpose, too.
  const double* a = nullptr;
  int64_t a_row = 0, a_column = 1;
  const double* b = nullptr;  // entry (k, j) is b[k * b_row + j]
  int64_t b_row = 0;
  int64_t rows = 0, inner = 0, columns = 0;
  double* out = nullptr;  // entry (i, j) is out[i * out_row + j]
  int64_t out_row = 0;
  // Entries below the diagonal are not wanted: what is there then means
  // nothing.
  bool upper_only = false;
};

struct DenseKernels {
  void (*add_product)(const ProductTask& task);
  // Off by at most 2^-51 for angles up to kSinCosMax; pointers may not overlap.
  void (*sin_cos)(const double* angles, size_t count, double* sines,
                  double* cosines);
};

inline constexpr double kSinCosMax = 1e5;

// A file each. Null: not in this build, or not of this processor.
const DenseKernels* PortableDenseKernels();
const DenseKernels* Avx2DenseKernels();
const DenseKernels* Avx512DenseKernels();
// Of the widest instructions there are.
const DenseKernels& BestDenseKernels();

}  // namespace fedgraft
