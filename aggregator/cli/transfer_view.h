#pragma once

#include <string>

#include "proto/admin.pb.h"

namespace fedgraft {

// The terminal report's section on transfer
// (aggregator/web/transfer_summary.h). Empty if there is nothing to tell.
std::string RenderTransfer(const pb::StatusReply& status);

}  // namespace fedgraft
