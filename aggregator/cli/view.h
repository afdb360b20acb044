#pragma once

#include <string>

#include "proto/admin.pb.h"

// What a person sees of a run: pure functions of a status.

namespace fedgraft {

// One line on the run (state, round, ETA, bytes) and one per site. `width`:
// columns of the terminal.
std::string RenderStatus(const pb::StatusReply& status, int width);

// The result table: per site n, local-only AUC, federated AUC with its 95 %
// confidence interval and rounds; pooled metrics; transfer (transfer_view.h);
// seconds and bytes per round.
// Numbers that a site's policy keeps in are shown as "-". The same as JSON:
// aggregator/web/report_json.h.
std::string RenderReport(const pb::StatusReply& status);

}  // namespace fedgraft
