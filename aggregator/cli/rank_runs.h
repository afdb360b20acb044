#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregator/cli/rank_results.h"
#include "common/base/bytes.h"
#include "common/config/plan.h"
#include "proto/admin.pb.h"

namespace fedgraft {

// A backbone to be measured, with its probe (common/config/probe_plan.h).
struct RankCandidate {
  std::string architecture, path;  // path: absolute
  Plan probe;
};

// What ranking needs of the Admin service (aggregator/net/admin_client.h).
struct RankPorts {
  std::function<absl::StatusOr<pb::StatusReply>()> status;  // with history
  std::function<absl::Status(ByteSpan plan, const std::string& backbone_path)>
      start;
  // Every status until `update` returns false.
  std::function<absl::Status(
      const std::function<bool(const pb::StatusReply&)>& update)>
      watch;
  // A line for a person who waits.
  std::function<void(const std::string& line)> tell;
};

// One run per candidate, one after the other; the results in the candidates'
// order. A candidate whose result is in `file`, or whose run is the
// aggregator's newest and goes on or has finished, gets no new one; unless
// `anew`, which takes in no finished run. Each result is in `file` before the
// next run starts, so that a call after one that was cut off repeats nothing.
// Errors name the candidate: FAILED_PRECONDITION: another run is open, or the
// run was stopped; those of the ports.
absl::StatusOr<std::vector<RankResult>> RunCandidates(
    const std::vector<RankCandidate>& candidates, bool anew,
    const RankPorts& ports, RankFile& file);

}  // namespace fedgraft
