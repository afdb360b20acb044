#pragma once

#include <set>

#include "absl/status/status.h"
#include "aggregator/round/coordinator.h"
#include "aggregator/round/round_context.h"
#include "common/protocol/messages.h"
#include "common/protocol/reply.h"

namespace fedgraft {

// What sites say in the steps of secure aggregation that are no updates:
// checked, journalled, then acknowledged. An answer that comes too late, to a
// step or round that went on without it, is let pass. Single-strand; part of the
// Coordinator.
class SecureDesk {
 public:
  // `context` outlives the desk.
  explicit SecureDesk(RoundContext& context) : context_(context) {}

  void Take(const SitePeer& site, const SecureAnswer& answer,
            Reply<Done> reply);

 private:
  // Refuses what is not of this phase and attempt, or comes too early.
  absl::Status CheckPlace(const SecureAnswer& answer) const;
  bool IsOfPastRound(const SecureAnswer& answer) const;
  bool IsLate(const SiteId& site, const SecureAnswer& answer) const;
  void Journalled(const SiteId& site, const absl::Status& status,
                  const Reply<Done>& reply);

  RoundContext& context_;
  // Sites whose answer is on its way to the log.
  std::set<SiteId> pending_;
};

}  // namespace fedgraft
