#include "client/data/csv.h"

#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr size_t kColumnsMax = 4096;

absl::Status AtLine(size_t line, std::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("line ", line, ": ", std::string(what)));
}

// Cuts the text into rows.
class RowReader {
 public:
  explicit RowReader(std::string_view text) : rest_(text) {}

  // Skips empty lines. False at the end of the text.
  bool HasRow() {
    while (TakeLineEnd()) {
    }
    return !rest_.empty();
  }

  // REQUIRES: HasRow().
  absl::StatusOr<CsvRow> ReadRow() {
    CsvRow row;
    row.line = line_;
    while (true) {
      if (row.fields.size() == kColumnsMax) {
        return AtLine(line_,
                      absl::StrCat("more than ", kColumnsMax, " columns"));
      }
      std::string field;
      FG_RETURN_IF_ERROR(rest_.starts_with('"') ? ReadQuoted(field)
                                                : ReadBare(field));
      row.fields.push_back(std::move(field));
      if (rest_.starts_with(',')) {
        rest_.remove_prefix(1);
      } else if (rest_.empty() || TakeLineEnd()) {
        return row;
      } else {
        return AtLine(line_,
                      "expected a comma or line end after a quoted field");
      }
    }
  }

 private:
  bool TakeLineEnd() {
    const size_t length = rest_.starts_with("\r\n") ? 2
                          : rest_.starts_with('\n') ? 1
                                                    : 0;
    rest_.remove_prefix(length);
    line_ += length > 0 ? 1 : 0;
    return length > 0;
  }

  absl::Status ReadBare(std::string& field) {
    size_t end = 0;
    while (end < rest_.size() && rest_[end] != ',' && rest_[end] != '\n' &&
           !rest_.substr(end).starts_with("\r\n")) {
      if (rest_[end] == '"') {
        return AtLine(line_, "a quote inside a field that is not quoted");
      }
      ++end;
    }
    field = rest_.substr(0, end);
    rest_.remove_prefix(end);
    return absl::OkStatus();
  }

  absl::Status ReadQuoted(std::string& field) {
    const size_t first_line = line_;
    rest_.remove_prefix(1);
    while (true) {
      const size_t quote = rest_.find('"');
      if (quote == std::string_view::npos) {
        return AtLine(first_line, "a quoted field that never ends");
      }
      for (const char c : rest_.substr(0, quote)) line_ += c == '\n' ? 1 : 0;
      field.append(rest_.substr(0, quote));
      rest_.remove_prefix(quote + 1);
      if (!rest_.starts_with('"')) return absl::OkStatus();
      field.push_back('"');
      rest_.remove_prefix(1);
    }
  }

  std::string_view rest_;
  size_t line_ = 1;
};

absl::Status CheckHeader(const CsvRow& header) {
  std::set<std::string_view> seen;
  for (const std::string& name : header.fields) {
    if (name.empty()) return AtLine(header.line, "a column without a name");
    if (!seen.insert(name).second) {
      return AtLine(header.line,
                    absl::StrCat("column \"", absl::CHexEscape(name),
                                 "\" appears twice"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CsvTable> ParseCsv(std::string_view text) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) {
    text.remove_prefix(kByteOrderMark.size());
  }
  if (text.find('\0') != std::string_view::npos) {
    return absl::InvalidArgumentError(
        "expected UTF-8 text, found a NUL byte (UTF-16?)");
  }
  RowReader reader(text);
  if (!reader.HasRow()) {
    return absl::InvalidArgumentError("expected a header row, found no text");
  }
  FG_ASSIGN_OR_RETURN(CsvRow header, reader.ReadRow());
  FG_RETURN_IF_ERROR(CheckHeader(header));
  CsvTable table;
  table.header = std::move(header.fields);
  while (reader.HasRow()) {
    FG_ASSIGN_OR_RETURN(CsvRow row, reader.ReadRow());
    if (row.fields.size() != table.header.size()) {
      return AtLine(row.line,
                    absl::StrCat("expected ", table.header.size(),
                                 " fields, found ", row.fields.size()));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace fedgraft
