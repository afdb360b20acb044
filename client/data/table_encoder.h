#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/data/csv.h"

namespace fedgraft {

// What stands for a missing cell (empty, NA, NaN or nan). kMean: the mean of
// the feature in the training split, and nothing of the others. kIndicator: 0,
// and a feature more that is 1 where the cell is missing.
enum class MissingPolicy { kError, kMean, kZero, kIndicator };

// What the features of a table are: these columns in this order, whatever the
// table's own order. Columns that are not named are not read.
struct TableSchema {
  struct Categorical {
    std::string column;
    // One feature each: 1 where the cell is this text, as written.
    std::vector<std::string> values;
    bool other = false;  // and one for any other text
  };
  std::vector<std::string> numeric;  // first
  std::vector<Categorical> categorical;
  MissingPolicy missing = MissingPolicy::kError;

  // Features of a row.
  int FeatureCount() const;
};

// Turns rows of one table into feature vectors. Immutable.
class TableEncoder {
 public:
  // INVALID_ARGUMENT: no column, or more features than kFeatureDimMax; a column
  // that the table lacks.
  static absl::StatusOr<TableEncoder> Create(const TableSchema& schema,
                                             const CsvTable& table);

  size_t dim() const { return dim_; }
  // Appends the row's features to `out`. Under kMean what is missing is NaN.
  // INVALID_ARGUMENT naming line and column, what was expected and what was
  // found: not a finite number, a text that is none of the values, a missing
  // cell under kError.
  absl::Status Append(const CsvRow& row, std::vector<float>& out) const;
  // The column that feature `index` comes from.
  const std::string& ColumnOf(size_t index) const;

 private:
  struct Column {
    std::string name;
    size_t at = 0;            // in the table
    size_t first = 0;         // feature
    bool is_numeric = false;  // else:
    std::vector<std::string> values;
    bool other = false;
  };
  TableEncoder() = default;
  absl::Status AppendNumber(const CsvRow& row, const Column& column,
                            std::vector<float>& out) const;
  absl::Status AppendCategory(const CsvRow& row, const Column& column,
                              std::vector<float>& out) const;

  MissingPolicy missing_ = MissingPolicy::kError;
  std::vector<Column> columns_;
  size_t dim_ = 0;
};

}  // namespace fedgraft
