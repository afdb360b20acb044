#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/secagg/durable_record.h"
#include "client/secagg/masked_input.h"
#include "client/secagg/party.h"
#include "client/secagg/released_cohorts.h"
#include "client/secagg/share_keys.h"
#include "common/runtime/file_store.h"
#include "common/runtime/random_source.h"
#include "common/secagg/messages.h"

namespace fedgraft {

// A site's newest session, step by step and through crashes: what a step
// accepts is durable before its answer is returned, and a step that is asked
// again gives the same answer, or refuses if it is asked with something else.
//
// Invariants: one key list, one set of sharers and one set of survivors per
// session; of one site never both kinds of share; no sum is released that a
// difference to an earlier one would give away (released_cohorts.h).
//
// Any thread, one call at a time. `files` and `random` outlive it.
class SecureSite {
 public:
  static constexpr char kRecordPath[] = "secagg/session";  // DurableRecord

  SecureSite(FileStore& files, RandomSource& random)
      : files_(files), random_(random) {}

  // Step 1. Begins the session, forgetting the one before, unless it is the
  // current one.
  absl::StatusOr<Bytes> Advertise(const SecureParty& party,
                                  const SecureSession& session);
  // Steps 2 to 5, `request` as the aggregator sent it. FAILED_PRECONDITION: of
  // a session that is not the current one, or before the step that it needs.
  // Else the errors of the step's class, or of the disk; nothing has changed
  // then.
  absl::StatusOr<Bytes> Share(const SecureParty& party,
                              const SecureSession& session, ByteSpan request);
  // `statistic`: what the sum is of, see released_cohorts.h.
  absl::StatusOr<MaskedInput> Mask(const SecureParty& party,
                                   const SecureSession& session,
                                   ByteSpan request,
                                   absl::string_view statistic);
  absl::StatusOr<Bytes> Agree(const SecureParty& party,
                              const SecureSession& session, ByteSpan request);
  absl::StatusOr<Bytes> Release(const SecureParty& party,
                                const SecureSession& session, ByteSpan request);

 private:
  // The record in memory; reads it after a restart.
  absl::Status Load();
  // The record as the disk has it.
  void Restore();
  absl::Status CheckCurrent(const SecureSession& session);
  absl::Status Save();
  // This site's step 2, made again after a restart.
  absl::Status MakeShared(const SecureParty& party, const SiteSecrets& secrets);
  // Fixes the survivors, once.
  absl::Status FixSurvivors(const SecureParty& party,
                            const std::vector<SiteId>& survivors);

  FileStore& files_;
  RandomSource& random_;
  std::optional<DurableRecord> file_;  // none: not read yet
  std::optional<SecureSiteRecord> record_;
  std::optional<ShareKeys> shared_;  // follows from the record
  std::optional<ReleasedCohorts> released_;
};

}  // namespace fedgraft
