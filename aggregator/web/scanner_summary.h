#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nlohmann/json_fwd.hpp"
#include "proto/admin.pb.h"

// What the report says of the scanners that the sites' images come from.

namespace fedgraft {

struct ScannerCount {
  std::string name;   // of the metric, less common/shift/devices.h's prefix
  std::string title;  // for people
  double records = 0;
};

// Of all sites together, as the newest look that counted them did.
struct ScannerSummary {
  uint32_t round = 0;
  double records = 0;
  // The most first; then other ones, and what is not told. Empty: no look has
  // counted.
  std::vector<ScannerCount> counts;
};
ScannerSummary NewestScanners(const pb::StatusReply& status);

// {"round": 8, "records": 300, "counts": [{"name": "ge", "title": "GE
// HealthCare", "records": 200}]}; null if no look has counted.
nlohmann::json ScannersJson(const pb::StatusReply& status);

}  // namespace fedgraft
