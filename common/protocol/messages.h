#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/bytes.h"
#include "common/base/digest.h"
#include "common/base/ids.h"

// What sites and aggregator say to each other, as domain types. The wire form
// is proto/federation.proto; common/protocol/codec.h converts and validates.

namespace fedgraft {

inline constexpr uint32_t kProtocolVersion = 2;

enum class TaskKind {
  kTrain = 1,
  kEvaluate = 2,
  kSolve = 3,
  kGather = 4,
  kSketch = 5
};
inline constexpr TaskKind kAllTaskKinds[] = {
    TaskKind::kTrain, TaskKind::kEvaluate, TaskKind::kSolve, TaskKind::kGather,
    TaskKind::kSketch};
// "train", "evaluate", "solve", "gather".
const char* TaskKindName(TaskKind kind);

// Steps of secure aggregation (common/secagg/session.h). Numbers as in
// proto/federation.proto.
enum class SecureStep {
  kNone = 0,  // not masked
  kAdvertise = 1,
  kShare = 2,
  kMask = 3,
  kAgree = 4,
  kUnmask = 5
};
// "advertise", "share", …
const char* SecureStepName(SecureStep step);

// What a task asks for in secure aggregation.
struct SecureAsk {
  SecureStep step = SecureStep::kNone;
  uint32_t attempt = 0;  // from 1; 0: not masked
  Bytes payload;
  // An update is asked for, masked or not.
  bool AsksUpdate() const {
    return step == SecureStep::kNone || step == SecureStep::kMask;
  }
};

// AEAD of sealed updates.
enum class SealSuite { kAes256Gcm = 0, kChaCha20Poly1305 = 1 };

struct JoinRequest {
  uint32_t protocol_version = kProtocolVersion;
  std::string software_version;
  std::vector<std::string> capabilities;
};

// What a site needs to take part in a run.
struct RunDescriptor {
  RunId run;
  Bytes plan;        // serialised Plan
  Digest plan_hash;  // its SHA-256
  uint64_t backbone_size_bytes = 0;
  Digest initial_model;
  Bytes hpke_public_key;     // X25519, 32 bytes
  Bytes hpke_key_signature;  // Ed25519, see statements.h
  std::string aggregator_certificate_pem;
  bool takes_chacha20_poly1305 = false;
};

struct JoinReply {
  std::string federation;
  std::optional<RunDescriptor> run;
};

// Numbers as in proto/shift.proto. What each is, and what stands against it:
// common/shift/remedies.h.
enum class SiteRemedy {
  kNone = 0,
  kImportanceWeights = 1,
  kPriorCorrection = 2,
  kPersonalModel = 3
};

struct Task {
  RunId run;
  RoundId round;
  TaskKind kind = TaskKind::kTrain;
  Digest plan_hash;
  Digest model;
  uint64_t model_size_bytes = 0;
  Bytes model_inline;  // empty: fetch by digest
  absl::Duration progress_timeout;
  std::string split;           // evaluate
  bool compare_local = false;  // evaluate
  // Rounds of training up to this task; rounds that solve or gather do not
  // count.
  RoundId training_round;
  // Train: what was gathered before (common/statistics), by digest. Sketch:
  // what the stages before have pooled (common/shift). No size: nothing.
  Digest statistics;
  uint64_t statistics_size_bytes = 0;
  Bytes statistics_inline;                // sketch; empty: fetch by digest
  SiteRemedy remedy = SiteRemedy::kNone;  // train
  // Train: the newest round of training that counted an update of this site; 0:
  // none did.
  RoundId counted_round;
  // Train: what the last stage of the newest complete look was asked with
  // (common/shift/look.h); zero: none, or features change anyway.
  Digest compared_look;
  SecureAsk secure;
};

struct WaitMore {};
struct Rejoin {};
struct RunFinished {
  RunId run;
  Digest model;
  uint64_t model_size_bytes = 0;
  uint32_t rounds = 0;
  bool stopped = false;
};

struct NextTaskRequest {
  RunId run;
  absl::Duration poll;
};
using NextTaskReply = std::variant<WaitMore, Task, RunFinished, Rejoin>;

struct Heartbeat {
  RunId run;
  RoundId round;
  TaskKind kind = TaskKind::kTrain;
  float progress = 0;
};

struct UploadHeader {
  RunId run;
  RoundId round;
  TaskKind kind = TaskKind::kTrain;
  Digest plan_hash;
  Digest base_model;
  uint64_t size_bytes = 0;
  Digest sealed_digest;         // DigestOfSealed (crypto/sealed_stream.h)
  Bytes signature;              // 64 bytes, over UploadStatement (statements.h)
  uint32_t secure_attempt = 0;  // 0: not masked
  SealSuite suite = SealSuite::kAes256Gcm;
};

struct UploadReceipt {
  Digest sealed_digest;
  uint64_t sequence = 0;  // in the aggregator's log
};

struct UploadOffset {
  uint64_t offset = 0;
  std::optional<UploadReceipt> receipt;
};

struct SiteReport {
  RunId run;
  RoundId round;
  std::map<std::string, double> scalars;
  std::string declined = "";  // why the site refuses the round's training task
};

// What a site says in a step of secure aggregation that is no update.
struct SecureAnswer {
  RunId run;
  RoundId round;
  TaskKind kind = TaskKind::kTrain;
  uint32_t attempt = 0;
  SecureStep step = SecureStep::kAdvertise;
  Bytes payload;
};

// Numbers as in proto/federation.proto RefusalReason.
enum class RefusalReason {
  kProtocolVersion = 1,
  kUnknownRun = 2,
  kWrongRound = 3,
  kWrongPlan = 4,
  kWrongBaseModel = 5,
  kAlreadyContributed = 6,
  kBadSize = 7,
  kBadDigest = 8,
  kBadSignature = 9,
  kBadSeal = 10,
  kBadLayout = 11,
  kBadWeight = 12,
  kOverNorm = 13,
  kNotAllowed = 14,
  kNoTask = 15,
  kStorage = 16,
};

// A Status that carries its RefusalReason as a payload, with the fitting code:
// kNotAllowed, kBadSignature PERMISSION_DENIED; kBadDigest, kBadSeal DATA_LOSS;
// kWrongRound, kUnknownRun, kAlreadyContributed, kNoTask FAILED_PRECONDITION;
// kStorage RESOURCE_EXHAUSTED; else INVALID_ARGUMENT.
absl::Status RefusalError(RefusalReason reason, std::string_view detail);
// nullopt if the status carries none.
std::optional<RefusalReason> RefusalOf(const absl::Status& status);
std::string_view RefusalName(RefusalReason reason);

}  // namespace fedgraft
