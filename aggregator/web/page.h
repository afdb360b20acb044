#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "aggregator/web/json_read.h"

// Whole pages: one HTML document each that needs nothing else, no script, no
// font, no image, so that it opens offline and from a mail.

namespace fedgraft {

struct PageOptions {
  absl::Time now;          // when the report was made
  bool is_served = false;  // by the status page: links to the other runs
  // Served: the browser asks again after this time; zero: it does not.
  absl::Duration refresh;
};

// `report`: what ReportJson gives, as text. INVALID_ARGUMENT: it is no JSON
// object.
absl::StatusOr<std::string> RenderRunPage(absl::string_view report,
                                          const PageOptions& options);

// One line of the list of runs.
struct RunLine {
  std::string run, plan, state;
  uint64_t rounds_complete = 0, rounds = 0, sites = 0;
  double auc = kNoNumber;
  uint64_t alarms = 0;
  absl::Time started;
};
// Of a report (parsed).
RunLine SummarizeRun(const Json& report);

// The newest first. `federation` as in the config.
std::string RenderIndexPage(absl::string_view federation,
                            const std::vector<RunLine>& runs,
                            const PageOptions& options);
// For 404 and the like: a sentence.
std::string RenderMessagePage(absl::string_view title, absl::string_view text);

}  // namespace fedgraft
