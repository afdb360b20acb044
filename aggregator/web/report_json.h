#pragma once

#include <string>

#include "proto/admin.pb.h"

namespace fedgraft {

// The report on a run as JSON; README describes the schema. It is what scripts
// read, and the only thing that the HTML page and /metrics draw from. Valid
// whatever bytes the texts in `status` hold. The same status gives the same
// bytes.
std::string ReportJson(const pb::StatusReply& status);

// The newest round whose model was evaluated; null: none yet.
const pb::RoundSummary* LastEvaluated(const pb::StatusReply& status);

}  // namespace fedgraft
