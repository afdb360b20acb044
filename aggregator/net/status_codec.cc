#include "aggregator/net/status_codec.h"

#include <sys/resource.h>

#include <algorithm>
#include <string>

namespace fedgraft {
namespace {

// Sites poll for 30 s at a time.
constexpr absl::Duration kConnectedFor = absl::Seconds(70);
// Rounds from which the remaining time is estimated.
constexpr size_t kEtaRounds = 5;

void FillSite(const SiteId& id, const SiteSnapshot& site, absl::Time now,
              pb::SiteStatus& out) {
  out.set_site(id.value);
  out.set_connected(now - site.last_seen < kConnectedFor);
  out.set_state(site.state);
  out.set_progress(site.progress);
  out.set_bytes_received(site.bytes_received);
  out.set_bytes_sent(site.bytes_sent);
  out.set_rounds_contributed(site.rounds_contributed);
  out.set_last_seen_unix_ms(absl::ToUnixMillis(site.last_seen));
  out.mutable_scalars()->insert(site.scalars.begin(), site.scalars.end());
  out.set_last_refusal(site.last_refusal);
}

void FillRound(const RoundRecord& round, pb::RoundSummary& out) {
  out.set_round(round.round.value);
  for (const SiteId& site : round.sites) out.add_sites(site.value);
  out.set_seconds(absl::ToDoubleSeconds(round.elapsed));
  out.set_bytes_up(round.bytes_up);
  out.set_bytes_down(round.bytes_down);
  out.set_saturated(round.saturated);
  out.mutable_metrics()->insert(round.metrics.begin(), round.metrics.end());
  for (const auto& [site, share] : round.influence) {
    (*out.mutable_influence())[site.value] = share;
  }
}

double EtaSeconds(const CoordinatorSnapshot& snapshot,
                  const std::vector<RoundRecord>& history) {
  if (history.empty() || snapshot.rounds <= history.size()) return 0;
  const size_t count = std::min(kEtaRounds, history.size());
  absl::Duration total;
  for (size_t i = history.size() - count; i < history.size(); ++i) {
    total += history[i].elapsed;
  }
  const size_t left = snapshot.rounds - history.size();
  return absl::ToDoubleSeconds(total) / static_cast<double>(count) *
         static_cast<double>(left);
}

uint64_t PeakRssBytes() {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace

pb::StatusReply StatusToWire(const std::string& federation,
                             const CoordinatorSnapshot& snapshot,
                             const std::vector<RoundRecord>& history,
                             bool with_history, absl::Time now) {
  pb::StatusReply reply;
  reply.set_federation(federation);
  reply.set_state(snapshot.state);
  reply.set_peak_rss_bytes(PeakRssBytes());
  for (const auto& [id, site] : snapshot.sites) {
    FillSite(id, site, now, *reply.add_sites());
  }
  if (!snapshot.run.has_value()) return reply;
  reply.set_run_id(snapshot.run->value);
  reply.set_plan_name(snapshot.plan_name);
  reply.set_plan_hash(snapshot.plan_hash.AsWire());
  reply.set_round(snapshot.round.value);
  reply.set_rounds(snapshot.rounds);
  reply.set_quorum(snapshot.quorum);
  reply.set_model(snapshot.model.AsWire());
  reply.set_eta_seconds(EtaSeconds(snapshot, history));
  reply.set_masks(snapshot.masks);
  reply.set_end_reason(snapshot.end_reason);
  reply.set_started_unix_ms(absl::ToUnixMillis(snapshot.started));
  const size_t first = with_history || history.empty() ? 0 : history.size() - 1;
  for (size_t i = first; i < history.size(); ++i) {
    FillRound(history[i], *reply.add_history());
  }
  return reply;
}

}  // namespace fedgraft
