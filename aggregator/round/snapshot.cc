#include "aggregator/round/snapshot.h"

#include <algorithm>
#include <string>
#include <utility>

namespace fedgraft {
namespace {

std::string StateName(const RoundContext& context) {
  const RunState& state = context.state;
  if (!context.journal->failure().ok() || context.cannot_publish) {
    return "storage error";
  }
  if (state.phase() == Phase::kClosed) {
    return state.stopped() ? "stopped" : "finished";
  }
  if (state.paused()) return "paused";
  if (context.reducing || state.phase() == Phase::kPublished) return "reducing";
  return std::string(PhaseName(state.phase()));
}

std::string SiteStateName(const RoundContext& context, const SiteId& site,
                          const LiveSite& live, bool uploading) {
  const RunState& state = context.state;
  if (!live.active) return "silent";
  if (!state.joined().contains(site)) return "joined";
  if (state.contributions().contains(site)) return "contributed";
  if (context.admitting.contains(site)) return "verifying";
  if (uploading) return "uploading";
  if (!state.task_kind().has_value() || !live.has_task) return "waiting";
  if (live.attempts_refused >= SiteTable::kAttemptsMax) return "refused";
  return std::string(PhaseName(state.phase()));
}

}  // namespace

CoordinatorSnapshot MakeSnapshot(
    const RoundContext& context,
    const std::function<bool(const SiteId&)>& is_uploading) {
  const RunState& state = context.state;
  CoordinatorSnapshot snapshot;
  snapshot.state = StateName(context);
  for (const auto& [site, live] : context.sites.all()) {
    SiteSnapshot& out = snapshot.sites[site];
    out.state = SiteStateName(context, site, live, is_uploading(site));
    out.progress = live.progress;
    out.bytes_received = live.bytes_received;
    out.bytes_sent = live.bytes_sent;
    out.rounds_contributed = state.RoundsContributed(site);
    out.last_seen = live.last_seen;
    out.scalars = state.Scalars(site);
    out.last_refusal = live.last_refusal;
  }
  if (state.run() == nullptr) return snapshot;
  const RunFacts& run = *state.run();
  snapshot.run = run.id;
  snapshot.plan_name = run.plan.name;
  snapshot.plan_hash = run.plan.hash;
  snapshot.round = state.model_round();
  // While the head is being solved, how many rounds that takes is not known.
  snapshot.rounds = static_cast<uint32_t>(run.plan.rounds) +
                    std::max(state.solve().rounds,
                             state.solve().open ? state.round().value : 0) +
                    (state.statistics().open ? 1 : state.statistics().rounds);
  snapshot.quorum = static_cast<uint32_t>(run.plan.quorum);
  snapshot.model = state.model().digest;
  snapshot.started = run.opened;
  if (state.masks().has_value()) snapshot.masks = state.masks()->ToText();
  snapshot.end_reason = state.end_reason();
  return snapshot;
}

}  // namespace fedgraft
