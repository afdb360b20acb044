#include "aggregator/cli/rank_runs.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

bool IsRunOf(const pb::StatusReply& status, const Plan& probe) {
  return !status.run_id().empty() && status.plan_hash() == probe.hash.AsWire();
}

bool Ended(const pb::StatusReply& status) {
  return status.state() == "finished" || status.state() == "stopped";
}

// One line per change of state or round, and one per site's refusal.
class Teller {
 public:
  Teller(const RankPorts& ports, std::string name)
      : ports_(ports), name_(std::move(name)) {}
  void Tell(const pb::StatusReply& status) {
    std::string line = absl::StrCat(name_, ": run ", status.run_id(), " ",
                                    status.state(), ", round ", status.round());
    for (const auto& site : status.sites()) {
      if (site.last_refusal().empty()) continue;
      absl::StrAppend(&line, "; ", site.site(), ": ", site.last_refusal());
    }
    if (line == last_) return;
    last_ = line;
    ports_.tell(line);
  }

 private:
  const RankPorts& ports_;
  std::string name_, last_;
};

// The status of the probe's run once it has ended.
absl::StatusOr<pb::StatusReply> WaitForRun(const RankCandidate& candidate,
                                           const RankPorts& ports) {
  Teller teller(ports, candidate.architecture);
  pb::StatusReply last;
  FG_RETURN_IF_ERROR(ports.watch([&](const pb::StatusReply& status) {
    last = status;
    teller.Tell(status);
    return IsRunOf(status, candidate.probe) && !Ended(status);
  }));
  if (!IsRunOf(last, candidate.probe)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "run ", last.run_id(), " has taken the place of the one for it"));
  }
  if (last.state() != "finished") {
    return absl::FailedPreconditionError(absl::StrCat(
        "run ", last.run_id(), " is ", last.state(), ", not finished"));
  }
  return last;
}

absl::StatusOr<RankResult> Measure(const RankCandidate& candidate, bool anew,
                                   const RankPorts& ports, RankFile& file) {
  const Plan& probe = candidate.probe;
  FG_ASSIGN_OR_RETURN(pb::StatusReply status, ports.status());
  if (!anew) {
    const RankResult* known = file.Find(status.federation(), probe.hash.Hex());
    if (known != nullptr) {
      ports.tell(absl::StrCat(candidate.architecture, ": known from run ",
                              known->run));
      return *known;
    }
  }
  const bool reuses = IsRunOf(status, probe) && status.state() != "stopped" &&
                      !(anew && Ended(status));
  if (!reuses) FG_RETURN_IF_ERROR(ports.start(probe.bytes, candidate.path));
  FG_ASSIGN_OR_RETURN(status, WaitForRun(candidate, ports));
  RankResult result;
  result.federation = status.federation();
  result.plan_hash = probe.hash.Hex();
  result.run = status.run_id();
  result.architecture = candidate.architecture;
  result.path = candidate.path;
  result.sha256 = probe.backbone.Hex();
  FG_ASSIGN_OR_RETURN(result.values, ValuesOfRun(status));
  FG_RETURN_IF_ERROR(file.Put(result));
  return result;
}

}  // namespace

absl::StatusOr<std::vector<RankResult>> RunCandidates(
    const std::vector<RankCandidate>& candidates, bool anew,
    const RankPorts& ports, RankFile& file) {
  std::vector<RankResult> results;
  for (const RankCandidate& candidate : candidates) {
    absl::StatusOr<RankResult> result = Measure(candidate, anew, ports, file);
    if (!result.ok()) {
      return Annotate(result.status(),
                      absl::StrCat("plan rank, ", candidate.architecture, " ",
                                   candidate.path));
    }
    results.push_back(*std::move(result));
  }
  return results;
}

}  // namespace fedgraft
