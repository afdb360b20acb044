#include "client/data/table_encoder.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/data/feature_source.h"
#include "client/data/manifest.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

bool IsMissing(const std::string& cell) {
  return cell.empty() || cell == "NA" || cell == "NaN" || cell == "nan";
}

// What a missing cell gives, before an indicator.
float Filler(MissingPolicy policy) {
  return policy == MissingPolicy::kMean
             ? std::numeric_limits<float>::quiet_NaN()
             : 0.0f;
}

absl::Status MissingCell(const CsvRow& row, const std::string& column,
                         const std::string& cell) {
  return ManifestError(
      row.line, column,
      "a value (data.table.missing is error; mean, zero and indicator fill in)",
      cell);
}

size_t CategoryFeatures(const std::vector<std::string>& values, bool other) {
  return values.size() + (other ? 1 : 0);
}

}  // namespace

int TableSchema::FeatureCount() const {
  const size_t flag = missing == MissingPolicy::kIndicator ? 1 : 0;
  size_t count = numeric.size() * (1 + flag);
  for (const Categorical& column : categorical) {
    count += CategoryFeatures(column.values, column.other) + flag;
  }
  return static_cast<int>(std::min<size_t>(count, kFeatureDimMax + 1));
}

absl::StatusOr<TableEncoder> TableEncoder::Create(const TableSchema& schema,
                                                  const CsvTable& table) {
  const int count = schema.FeatureCount();
  if (count < 1 || count > kFeatureDimMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "data.table: expected columns that make 1 to ", kFeatureDimMax,
        " features, found ", count, count > kFeatureDimMax ? " or more" : ""));
  }
  TableEncoder encoder;
  encoder.missing_ = schema.missing;
  std::vector<Column>& columns = encoder.columns_;
  for (const std::string& name : schema.numeric) {
    columns.push_back({name, 0, 0, true, {}, false});
  }
  for (const TableSchema::Categorical& column : schema.categorical) {
    columns.push_back(
        {column.column, 0, 0, false, column.values, column.other});
  }
  const size_t flag = schema.missing == MissingPolicy::kIndicator ? 1 : 0;
  for (Column& column : columns) {
    FG_ASSIGN_OR_RETURN(column.at, ColumnIndex(table, column.name));
    column.first = encoder.dim_;
    encoder.dim_ +=
        flag +
        (column.is_numeric ? 1 : CategoryFeatures(column.values, column.other));
  }
  return encoder;
}

absl::Status TableEncoder::AppendNumber(const CsvRow& row, const Column& column,
                                        std::vector<float>& out) const {
  const std::string& cell = row.fields[column.at];
  const bool missing = IsMissing(cell);
  if (missing && missing_ == MissingPolicy::kError) {
    return MissingCell(row, column.name, cell);
  }
  float value = Filler(missing_);
  if (!missing) {
    double number = 0;
    const bool parsed = absl::SimpleAtod(cell, &number);
    value = static_cast<float>(number);
    if (!parsed || !std::isfinite(value)) {
      return ManifestError(row.line, column.name, "a finite number", cell);
    }
  }
  out.push_back(value);
  if (missing_ == MissingPolicy::kIndicator) out.push_back(missing ? 1 : 0);
  return absl::OkStatus();
}

absl::Status TableEncoder::AppendCategory(const CsvRow& row,
                                          const Column& column,
                                          std::vector<float>& out) const {
  const std::string& cell = row.fields[column.at];
  const auto& values = column.values;
  const auto found = std::find(values.begin(), values.end(), cell);
  // "NA" may be one of the values.
  const bool missing = found == values.end() && IsMissing(cell);
  if (missing && missing_ == MissingPolicy::kError) {
    return MissingCell(row, column.name, cell);
  }
  if (!missing && found == values.end() && !column.other) {
    return ManifestError(row.line, column.name,
                         absl::StrCat("one of ", absl::StrJoin(values, ", "),
                                      " (or `other: true` in the schema)"),
                         cell);
  }
  const size_t begin = out.size();
  const size_t count = CategoryFeatures(values, column.other);
  out.resize(begin + count, missing ? Filler(missing_) : 0.0f);
  if (!missing) {
    out[begin + static_cast<size_t>(found - values.begin())] = 1;
  }
  if (missing_ == MissingPolicy::kIndicator) out.push_back(missing ? 1 : 0);
  return absl::OkStatus();
}

absl::Status TableEncoder::Append(const CsvRow& row,
                                  std::vector<float>& out) const {
  for (const Column& column : columns_) {
    FG_RETURN_IF_ERROR(column.is_numeric ? AppendNumber(row, column, out)
                                         : AppendCategory(row, column, out));
  }
  return absl::OkStatus();
}

const std::string& TableEncoder::ColumnOf(size_t index) const {
  size_t i = columns_.size() - 1;
  while (columns_[i].first > index) --i;
  return columns_[i].name;
}

}  // namespace fedgraft
