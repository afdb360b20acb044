#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "absl/time/time.h"
#include "common/base/ids.h"
#include "common/runtime/clock.h"

namespace fedgraft {

// What is known of a site only while the process lives.
struct LiveSite {
  // Heard of since it last fell silent. A silent site is not waited for.
  bool active = true;
  absl::Time progressed;                     // monotonic
  absl::Time last_seen = absl::UnixEpoch();  // wall; the epoch: not yet
  bool has_task = false;                     // of this phase
  float progress = 0;                        // of this phase's task
  int attempts_refused = 0;                  // in this phase
  int reports = 0;                           // in this phase
  uint64_t bytes_received = 0, bytes_sent = 0;
  std::string last_refusal;
};

// The liveness of sites and their progress in the current phase. One time-out:
// a site of which neither byte nor call comes for the progress time-out falls
// silent, and any call brings it back. Single-strand.
class SiteTable {
 public:
  // A site whose updates of one phase were refused this often for what is in
  // them is not asked again before the next phase or extension.
  static constexpr int kAttemptsMax = 3;

  explicit SiteTable(const Clock& clock) : clock_(clock) {}

  // The site called: it is active and has made progress.
  LiveSite& Heard(const SiteId& site);
  // Known after a restart, not heard of yet: waited for like an active one.
  void Remember(const SiteId& site);
  void Silence(const SiteId& site);
  // A new phase or its extension begins: progress and refusals start anew.
  void BeginPhase();

  const LiveSite* Find(const SiteId& site) const;
  LiveSite* Find(const SiteId& site);
  const std::map<SiteId, LiveSite>& all() const { return sites_; }
  // Active and not refused too often.
  bool MayContribute(const SiteId& site) const;
  // Of `sites`, silences those without progress for `timeout` and returns them;
  // `*next`: when the next one would be due (InfiniteFuture: none).
  std::set<SiteId> SilenceStale(const std::set<SiteId>& sites,
                                absl::Duration timeout, absl::Time* next);

 private:
  const Clock& clock_;
  std::map<SiteId, LiveSite> sites_;
};

}  // namespace fedgraft
