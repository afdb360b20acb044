#pragma once

#include <string>
#include <vector>

#include "absl/strings/str_format.h"

namespace fedgraft {

using TableRow = std::vector<std::string>;

// Left-aligned first column, right-aligned others; a line per row.
std::string TextTable(const std::vector<TableRow>& rows);

// The value of a map from names to numbers, or "-".
template <typename Map>
std::string NumberIn(const Map& values, const std::string& name, int digits) {
  const auto it = values.find(name);
  if (it == values.end()) return "-";
  return absl::StrFormat("%.*f", digits, it->second);
}

}  // namespace fedgraft
