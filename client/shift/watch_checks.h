#pragma once

#include <string_view>

#include "absl/types/span.h"

// By what a site compares new records with its own, in words.

namespace fedgraft {

struct WatchCheckSpec {
  std::string_view name;
  // Over batches, the chart that follows it; checks of one chart share it.
  std::string_view chart;
  // What it compares, and what to do if it differs; for people.
  std::string_view compares, action;
};

// In the order in which they are shown.
absl::Span<const WatchCheckSpec> WatchChecks();
// REQUIRES: there is one of this name.
const WatchCheckSpec& WatchCheckOf(std::string_view name);
// Names of the charts, in the order of their checks.
absl::Span<const std::string_view> WatchCharts();

}  // namespace fedgraft
