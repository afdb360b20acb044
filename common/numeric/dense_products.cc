#include "common/numeric/dense_products.h"

#include "common/base/check.h"
#include "common/numeric/dense_kernels.h"

namespace fedgraft {

std::vector<double> Product(absl::Span<const double> a,
                            absl::Span<const double> b, int64_t m,
                            int64_t inner, int64_t n) {
  FG_CHECK(static_cast<int64_t>(a.size()) == m * inner &&
           static_cast<int64_t>(b.size()) == inner * n);
  std::vector<double> out(m * n);
  ProductTask task;
  task.a = a.data();
  task.a_row = inner;
  task.b = b.data();
  task.b_row = n;
  task.rows = m;
  task.inner = inner;
  task.columns = n;
  task.out = out.data();
  task.out_row = n;
  BestDenseKernels().add_product(task);
  return out;
}

std::vector<double> SelfProduct(absl::Span<const double> x, int64_t rows,
                                int64_t columns) {
  FG_CHECK(static_cast<int64_t>(x.size()) == rows * columns);
  std::vector<double> out(columns * columns);
  ProductTask task;
  task.a = task.b = x.data();
  task.a_row = 1;
  task.a_column = task.b_row = columns;
  task.rows = task.columns = columns;
  task.inner = rows;
  task.out = out.data();
  task.out_row = columns;
  task.upper_only = true;
  BestDenseKernels().add_product(task);
  for (int64_t i = 0; i < columns; ++i) {
    for (int64_t j = 0; j < i; ++j) out[i * columns + j] = out[j * columns + i];
  }
  return out;
}

}  // namespace fedgraft
