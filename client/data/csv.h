#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace fedgraft {

struct CsvRow {
  size_t line = 0;  // where the row starts, counted from 1
  std::vector<std::string> fields;
};

// A table with a header row.
struct CsvTable {
  std::vector<std::string> header;
  std::vector<CsvRow> rows;  // each with as many fields as the header
};

// Parses comma-separated values as RFC 4180 has them: quoted fields may hold
// commas, line ends and doubled quotes. Lines end with LF or CRLF; a UTF-8
// byte order mark and empty lines are skipped. INVALID_ARGUMENT names the
// line: no header, a repeated or empty column name, a row of another length, a
// quote inside a bare field or text after a quoted one, an unclosed quote, a
// NUL byte (as in UTF-16), more than 4,096 columns.
absl::StatusOr<CsvTable> ParseCsv(std::string_view text);

}  // namespace fedgraft
