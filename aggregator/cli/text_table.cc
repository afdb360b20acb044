#include "aggregator/cli/text_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace fedgraft {

std::string TextTable(const std::vector<TableRow>& rows) {
  std::vector<size_t> widths;
  for (const TableRow& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  for (const TableRow& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string pad(widths[i] - row[i].size(), ' ');
      absl::StrAppend(&text, i == 0 ? row[i] + pad : pad + row[i],
                      i + 1 == row.size() ? "\n" : "  ");
    }
  }
  return text;
}

}  // namespace fedgraft
