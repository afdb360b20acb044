#pragma once

#include <string>

#include "nlohmann/json.hpp"

namespace fedgraft::testing {

// A report with something in every panel, as ReportJson would give it: made up,
// the same for the same sizes. The first site's images change in the middle,
// the second one's findings are rare, the third one is harmed.
nlohmann::json SampleReport(int sites, int rounds);
// A run that has just begun: nothing in any panel but a site.
nlohmann::json EmptyReport();

}  // namespace fedgraft::testing
