#include "aggregator/round/site_table.h"

#include <algorithm>

namespace fedgraft {

LiveSite& SiteTable::Heard(const SiteId& site) {
  LiveSite& live = sites_[site];
  live.active = true;
  live.progressed = clock_.Monotonic();
  live.last_seen = clock_.Wall();
  return live;
}

void SiteTable::Remember(const SiteId& site) {
  LiveSite& live = sites_[site];
  live.progressed = clock_.Monotonic();
}

void SiteTable::Silence(const SiteId& site) {
  if (LiveSite* live = Find(site)) live->active = false;
}

void SiteTable::BeginPhase() {
  for (auto& [site, live] : sites_) {
    live.progressed = clock_.Monotonic();
    live.has_task = false;
    live.progress = 0;
    live.attempts_refused = 0;
    live.reports = 0;
  }
}

const LiveSite* SiteTable::Find(const SiteId& site) const {
  const auto found = sites_.find(site);
  return found == sites_.end() ? nullptr : &found->second;
}

LiveSite* SiteTable::Find(const SiteId& site) {
  const auto found = sites_.find(site);
  return found == sites_.end() ? nullptr : &found->second;
}

bool SiteTable::MayContribute(const SiteId& site) const {
  const LiveSite* live = Find(site);
  return live != nullptr && live->active &&
         live->attempts_refused < kAttemptsMax;
}

std::set<SiteId> SiteTable::SilenceStale(const std::set<SiteId>& sites,
                                         absl::Duration timeout,
                                         absl::Time* next) {
  std::set<SiteId> silenced;
  *next = absl::InfiniteFuture();
  for (const SiteId& site : sites) {
    LiveSite* live = Find(site);
    if (live == nullptr || !live->active) continue;
    const absl::Time due = live->progressed + timeout;
    if (due <= clock_.Monotonic()) {
      live->active = false;
      silenced.insert(site);
    } else {
      *next = std::min(*next, due);
    }
  }
  return silenced;
}

}  // namespace fedgraft
