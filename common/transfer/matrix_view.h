#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace fedgraft {

// Somebody else's matrix [rows, columns], row by row: a record is a row.
struct MatrixView {
  absl::Span<const double> values;
  int64_t rows = 0, columns = 0;

  absl::Span<const double> Row(int64_t row) const {
    return values.subspan(row * columns, columns);
  }
};

// INVALID_ARGUMENT naming `name`: dimensions that are not those of the values,
// no column, or a value that is not finite.
absl::Status CheckMatrix(const MatrixView& matrix, std::string_view name);

}  // namespace fedgraft
