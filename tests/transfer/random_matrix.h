#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "common/transfer/matrix_view.h"

namespace fedgraft::testing {

// A matrix that owns its values.
struct OwnedMatrix {
  std::vector<double> values;
  int64_t rows = 0, columns = 0;

  MatrixView View() const { return {values, rows, columns}; }
  MatrixView Rows(int64_t begin, int64_t end) const {
    return {View().values.subspan(begin * columns, (end - begin) * columns),
            end - begin, columns};
  }
  double& At(int64_t row, int64_t column) {
    return values[row * columns + column];
  }
  double At(int64_t row, int64_t column) const {
    return values[row * columns + column];
  }
};

// Normal with this mean and deviation 1.
inline OwnedMatrix RandomMatrix(int64_t rows, int64_t columns, uint64_t seed,
                                double mean = 0) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(mean, 1);
  OwnedMatrix matrix{std::vector<double>(rows * columns), rows, columns};
  for (double& value : matrix.values) value = normal(random);
  return matrix;
}

// A B.
inline OwnedMatrix Product(const OwnedMatrix& a, const OwnedMatrix& b) {
  OwnedMatrix product{std::vector<double>(a.rows * b.columns), a.rows,
                      b.columns};
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t k = 0; k < a.columns; ++k) {
      for (int64_t j = 0; j < b.columns; ++j) {
        product.At(i, j) += a.At(i, k) * b.At(k, j);
      }
    }
  }
  return product;
}

inline OwnedMatrix Transposed(const OwnedMatrix& a) {
  OwnedMatrix result{std::vector<double>(a.values.size()), a.columns, a.rows};
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t j = 0; j < a.columns; ++j) result.At(j, i) = a.At(i, j);
  }
  return result;
}

}  // namespace fedgraft::testing
