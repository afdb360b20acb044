#include "common/transfer/matrix_view.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"

namespace fedgraft {

absl::Status CheckMatrix(const MatrixView& matrix, std::string_view name) {
  const auto size = static_cast<int64_t>(matrix.values.size());
  if (matrix.rows < 0 || matrix.columns < 1 || size % matrix.columns != 0 ||
      size / matrix.columns != matrix.rows) {
    return absl::InvalidArgumentError(
        absl::StrCat(std::string(name), ": ", size, " values are not ",
                     matrix.rows, " records of ", matrix.columns));
  }
  for (int64_t i = 0; i < size; ++i) {
    if (!std::isfinite(matrix.values[i])) {
      return absl::InvalidArgumentError(
          absl::StrCat(std::string(name), ": value ", i % matrix.columns,
                       " of record ", i / matrix.columns, " is not finite"));
    }
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
