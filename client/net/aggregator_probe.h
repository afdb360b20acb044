#pragma once

#include "absl/status/status.h"
#include "common/net/identity.h"
#include "proto/config.pb.h"

namespace fedgraft {

// Joins once, to see whether the aggregator answers and accepts this site; the
// site takes part in nothing by it. Blocks up to 10 s. UNAVAILABLE: not
// reachable, or the TLS handshake failed; PERMISSION_DENIED: refused.
absl::Status ProbeAggregator(const pb::ClientConfig& config,
                             const Identity& identity);

}  // namespace fedgraft
