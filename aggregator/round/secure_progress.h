#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/status.h"
#include "aggregator/secagg/rounds.h"
#include "aggregator/secagg/unmask_round.h"
#include "common/base/ids.h"
#include "common/protocol/messages.h"
#include "common/secagg/session.h"

namespace fedgraft {

// Where the secure aggregation of the current phase stands: part of RunState,
// changed by its records alone. Off in phases that are not masked. A value;
// single-threaded.
class SecureProgress {
 public:
  SecureProgress() = default;
  // Step 1 of an attempt.
  SecureProgress(SecureSession session, SecureRules rules);

  bool is_on() const { return step_ != SecureStep::kNone; }
  SecureStep step() const { return step_; }
  uint32_t attempt() const { return session_.attempt; }
  const SecureSession& session() const { return session_; }

  // Whether `site` may and has yet to say something in this step; in step
  // kMask: may contribute. `survivors`: who contributed, from step kAgree on.
  bool Awaits(const SiteId& site, const std::vector<SiteId>& survivors,
              bool is_participant) const;
  // Sites that have said it, but for step kMask.
  size_t Answers() const;
  // Fewest answers with which the step may end. `quorum` as far as sites that
  // have not advertised are concerned.
  int AnswersMin() const;

  // See rounds.h. INVALID_ARGUMENT, PERMISSION_DENIED: not to be taken.
  absl::Status Check(const SiteId& site, ByteSpan public_key,
                     const std::vector<SiteId>& survivors,
                     ByteSpan payload) const;
  absl::Status Put(const SiteId& site, ByteSpan payload);
  // FAILED_PRECONDITION unless `step` is the next.
  absl::Status Advance(SecureStep step);

  // What `site` is asked with in this step.
  Bytes PayloadFor(const SiteId& site,
                   const std::vector<SiteId>& survivors) const;
  UnmaskFacts Facts(const std::vector<SiteId>& survivors) const;

  const AdvertiseRound& advertised() const { return advertised_; }
  const ShareRound& shared() const { return shared_; }
  const UnmaskRound& unmasked() const { return unmasked_; }

 private:
  SecureSession session_;
  SecureRules rules_;
  SecureStep step_ = SecureStep::kNone;
  AdvertiseRound advertised_;
  ShareRound shared_;
  ConsistencyRound agreed_;
  UnmaskRound unmasked_;
};

}  // namespace fedgraft
