#pragma once

#include <string>

#include "proto/admin.pb.h"

namespace fedgraft {

// The terminal report's section on scanners (aggregator/web/scanner_summary.h).
// Empty if no look has counted them.
std::string RenderScanners(const pb::StatusReply& status);

}  // namespace fedgraft
