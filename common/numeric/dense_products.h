#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

// Products of dense matrices of doubles, row by row, with the widest
// instructions that the processor has; processors may round differently.

namespace fedgraft {

// AB [m, n] of a [m, inner] and b [inner, n]. REQUIRES: spans of these sizes.
std::vector<double> Product(absl::Span<const double> a,
                            absl::Span<const double> b, int64_t m,
                            int64_t inner, int64_t n);

// XᵀX [columns, columns] of x [rows, columns], exactly symmetric, at half the
// cost of a product. REQUIRES: a span of that size.
std::vector<double> SelfProduct(absl::Span<const double> x, int64_t rows,
                                int64_t columns);

}  // namespace fedgraft
