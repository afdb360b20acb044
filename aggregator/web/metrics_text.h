#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "aggregator/web/json_read.h"

namespace fedgraft {

// What /metrics answers.
inline constexpr absl::string_view kMetricsContentType =
    "text/plain; version=0.0.4; charset=utf-8";

// The report (parsed) in Prometheus' text format. Times are seconds and ages
// count to `now_unix_ms`. A number that no site told has no sample.
std::string MetricsText(const Json& report, int64_t now_unix_ms);

}  // namespace fedgraft
