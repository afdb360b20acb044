#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "client/agent/agent_ports.h"
#include "client/agent/background.h"
#include "client/agent/backoff.h"
#include "client/agent/callback_guard.h"
#include "common/base/digest.h"
#include "common/crypto/sha256.h"
#include "common/protocol/reply.h"

namespace fedgraft {

struct BlobRequest {
  Digest digest;
  std::string path;  // where it goes
  // Exact size; 0 if not known, then `size_bytes_max` bounds it.
  uint64_t size_bytes = 0;
  uint64_t size_bytes_max = 0;
  // Whether it must survive this process. If not, it is written in place, what
  // is there is ignored, and nothing is synced.
  bool keep = true;
};

// Brings a blob, named by its SHA-256, from the aggregator into a file. Goes on
// where it stopped, after a lost connection and after a restart (from
// `<path>.part`), and puts the file under its name only once its digest fits,
// durably. A file that is already there is checked and then used.
//
// One fetch at a time. Lives on the strand; checks old bytes on the executor.
class BlobFetcher {
 public:
  BlobFetcher(AgentPorts ports, Background& background, BackoffOptions backoff);

  // UNAVAILABLE and the like are tried again without end, with back-off.
  // Answers DATA_LOSS: twice bytes with another digest came;
  // RESOURCE_EXHAUSTED: more bytes than expected, or disk full; CANCELLED:
  // Abort; other codes: the aggregator's refusal. After an error the next fetch
  // of the blob resumes.
  void Fetch(BlobRequest request, Reply<Done> reply);
  void Abort();

  // Payload bytes that came since construction.
  uint64_t bytes_received() const { return bytes_received_; }
  // Called after each piece.
  void SetProgress(std::function<void()> progress) {
    progress_ = std::move(progress);
  }

 private:
  // What was found on disk.
  struct Found {
    bool complete = false;
    uint64_t part_size = 0;
    Sha256Hasher part_hasher;
  };
  static absl::StatusOr<Found> Look(FileStore& files, const BlobRequest& blob);

  void OnLooked(absl::StatusOr<Found> found);
  void Request();
  absl::Status Receive(ByteSpan data);
  void OnEnd(const absl::StatusOr<Done>& end);
  void OnMismatch();
  absl::Status Complete();
  absl::Status StartOver();
  std::string PartPath() const;
  uint64_t SizeLimit() const;
  void Answer(absl::StatusOr<Done> answer);

  AgentPorts ports_;
  Background& background_;
  Backoff backoff_;
  CallbackGuard guard_;
  std::function<void()> progress_;
  uint64_t bytes_received_ = 0;

  BlobRequest blob_;
  Reply<Done> reply_;  // null: idle
  std::unique_ptr<WritableFile> part_;
  Sha256Hasher hasher_;
  absl::Status local_error_;  // of the sink
  int mismatches_ = 0;
  TimerId retry_timer_ = 0;
};

}  // namespace fedgraft
