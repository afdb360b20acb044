#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/secret.h"
#include "common/config/plan.h"
#include "common/crypto/ed25519.h"
#include "common/model/parameter_layout.h"
#include "common/protocol/messages.h"
#include "common/protocol/reply.h"
#include "common/runtime/clock.h"
#include "common/runtime/executor.h"
#include "common/runtime/file_store.h"
#include "common/runtime/random_source.h"
#include "common/runtime/scheduler.h"

namespace fedgraft {

class SpoolUpload;

// Who calls: taken from the certificate and checked against the allow-list by
// the transport before the coordinator hears of it.
struct SitePeer {
  SiteId id;
  Bytes public_key;  // Ed25519, of the certificate
};

struct CoordinatorPorts {
  Clock& clock;
  Scheduler& strand;
  Executor& executor;
  RandomSource& random;
  FileStore& files;  // log, spool, blobs
};

struct CoordinatorOptions {
  std::string federation;
  uint64_t upload_size_bytes_max = uint64_t{1} << 30;
  // A model of at most this size travels inside the task and the log.
  uint64_t inline_bytes_max = 256 * 1024;
  // An update of at most this size is in memory and then in the log; a larger
  // one in a spool file.
  uint64_t upload_inline_bytes_max = (uint64_t{1} << 20) - 1;
};

// The aggregator's own identity and the secret that wraps run keys on disk.
struct CoordinatorKeys {
  const SigningKey& signing_key;
  std::string certificate_pem;
  ByteSpan wrapping_key;
};

// What a new run needs beside its plan; computed from the backbone file.
struct RunModel {
  ParameterLayout layout;
  ParameterVector initial;
  uint64_t backbone_size_bytes = 0;
};

struct SiteSnapshot {
  std::string state;  // joined, waiting, training, uploading, contributed, …
  float progress = 0;
  uint64_t bytes_received = 0, bytes_sent = 0;
  uint32_t rounds_contributed = 0;
  absl::Time last_seen;  // wall
  std::map<std::string, double> scalars;
  std::string last_refusal;
};
struct RoundRecord {
  RoundId round;
  std::vector<SiteId> sites;
  absl::Duration elapsed;
  uint64_t bytes_up = 0, bytes_down = 0, saturated = 0;
  std::map<std::string, double> metrics;  // pooled, if evaluated
  // Rules on single updates: how large a part of the result is each site's; 1
  // is an even share, 0 nothing at all.
  std::map<SiteId, double> influence;
};
// What a run's sites told of their shift tests, by round of training.
struct ShiftFindings {
  RunId run;
  uint64_t version = 0;  // grows with each change within the run
  uint32_t every = 0;    // of the plan; 0: it does not track shift
  double false_alarm_rate = 0;
  uint32_t looks = 0;  // that the plan has
  std::vector<std::string> classes;
  // Round, site, name (common/shift/shift_tests.h).
  std::map<uint32_t, std::map<std::string, std::map<std::string, double>>>
      values;
};

struct CoordinatorSnapshot {
  std::optional<RunId> run;
  std::string plan_name;
  Digest plan_hash;
  std::string state;  // idle, enrolling, training, reducing, evaluating,
                      // paused, finished, stopped, storage error
  RoundId round;
  uint32_t rounds = 0;
  uint32_t quorum = 0;
  Digest model;  // newest published
  std::map<SiteId, SiteSnapshot> sites;
  absl::Time started;  // wall
  // Whether updates are masked, in words; empty until it is known.
  std::string masks;
  std::string end_reason;  // of a stopped run
};

// Runs one run at a time: enrol, then per round train, aggregate, evaluate,
// publish. Every method is called on the strand and replies there. What it
// acknowledges is in the log before; Open replays the log and goes on where it
// stood. Deterministic given its ports.
//
// Invariants (checked by tests/simulation after every event):
//  1. The published model is the previous one plus the rule applied to the
//     exact ring sum over the journalled contributions of that round.
//  2. At most one contribution per (run, round, kind, site).
//  3. Nothing is published below the quorum.
//  4. An acknowledged update is never lost nor asked for again.
//  5. The state after a restart is the replay of the log.
class Coordinator {
 public:
  // DATA_LOSS: the log is damaged before its tail; PERMISSION_DENIED: the
  // wrapping key does not open the run key.
  static absl::StatusOr<std::unique_ptr<Coordinator>> Open(
      CoordinatorPorts ports, CoordinatorKeys keys, CoordinatorOptions options);
  ~Coordinator();

  // Sites.
  void Join(const SitePeer& site, const JoinRequest& request,
            Reply<JoinReply> reply);
  // Parks the reply until there is a task or `poll` has passed. A newer call
  // of the same site answers the older one with WaitMore.
  void NextTask(const SitePeer& site, const NextTaskRequest& request,
                Reply<NextTaskReply> reply);
  void Heard(const SitePeer& site, const Heartbeat& heartbeat,
             Reply<bool> cancel);
  void QueryUpload(const SitePeer& site, const UploadHeader& header,
                   Reply<UploadOffset> reply);
  // Admits the header; the transport then appends bytes to the upload off the
  // strand, reports movement with Moved, and ends with Finish or Abandon.
  // OUT_OF_RANGE if `offset` is not what the aggregator holds.
  void BeginUpload(const SitePeer& site, const UploadHeader& header,
                   uint64_t offset, Reply<std::shared_ptr<SpoolUpload>> reply);
  void Moved(const SitePeer& site, uint64_t bytes);
  void FinishUpload(const SitePeer& site, const UploadHeader& header,
                    std::shared_ptr<SpoolUpload> upload,
                    Reply<UploadReceipt> reply);
  void AbandonUpload(const SitePeer& site, const UploadHeader& header,
                     std::shared_ptr<SpoolUpload> upload);
  // Blobs of the current run only: backbone and models. NOT_FOUND otherwise.
  void OpenBlob(const SitePeer& site, const Digest& digest,
                Reply<std::shared_ptr<ReadableFile>> reply);
  void Sent(const SitePeer& site, uint64_t bytes);
  void Report(const SitePeer& site, const SiteReport& report,
              Reply<Done> reply);
  // A step of secure aggregation that is no update.
  void AnswerStep(const SitePeer& site, const SecureAnswer& answer,
                  Reply<Done> reply);
  // The site's certificate was revoked: its polls end, it leaves the round.
  void Revoked(const SiteId& site);

  // Operators. StartRun: FAILED_PRECONDITION while a run is open.
  void StartRun(const Plan& plan, RunModel model, Reply<RunId> reply);
  void StopRun(const RunId& run, std::string_view reason, Reply<Done> reply);
  void PauseRun(const RunId& run, bool paused, Reply<Done> reply);
  CoordinatorSnapshot Snapshot() const;
  const std::vector<RoundRecord>& History() const;
  // Of run and version alone if those are `known`.
  ShiftFindings Findings(const RunId& known = {}, uint64_t version = 0) const;
  // `changed` runs on the strand after every visible change.
  void SetListener(std::function<void()> changed);

 private:
  class Impl;
  explicit Coordinator(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fedgraft
