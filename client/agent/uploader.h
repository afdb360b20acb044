#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "client/agent/agent_ports.h"
#include "client/agent/backoff.h"
#include "client/agent/callback_guard.h"
#include "client/update/update_file.h"
#include "common/protocol/messages.h"
#include "common/protocol/reply.h"

namespace fedgraft {

// Delivers one sealed update until it is acknowledged or refused. A fresh
// update is submitted at once; after any failure, and for an update found on
// disk, the aggregator is first asked how much of it it holds.
//
// Single-strand, one upload at a time. An answer to Submit is always awaited,
// so that no one reads the update's file any more once the upload has ended.
class Uploader {
 public:
  Uploader(AgentPorts ports, BackoffOptions backoff);

  // Answers the refusal (RefusalOf), an error of this site's disk or audit log,
  // or CANCELLED after Abort. A lost connection is tried again without end,
  // with back-off; bytes that arrived damaged kDamagedMax times.
  static constexpr int kDamagedMax = 3;
  void Upload(SealedUpdate update, bool ask_first, Reply<UploadReceipt> reply);
  // Ends after the call that is under way.
  void Abort();
  bool busy() const { return reply_ != nullptr; }
  // Sealed bytes acknowledged since construction.
  uint64_t bytes_sent() const { return bytes_sent_; }

 private:
  void Ask();
  void OnOffset(const absl::StatusOr<UploadOffset>& offset);
  void Submit(uint64_t offset);
  void OnReceipt(uint64_t offset, absl::StatusOr<UploadReceipt> receipt);
  void OnFailure(const absl::Status& status);
  absl::Status CheckReceipt(const UploadReceipt& receipt) const;
  void Answer(absl::StatusOr<UploadReceipt> answer);

  AgentPorts ports_;
  Backoff backoff_;
  CallbackGuard guard_;
  std::optional<SealedUpdate> update_;
  Reply<UploadReceipt> reply_;  // null: idle
  bool aborted_ = false;
  int damaged_ = 0;
  TimerId retry_timer_ = 0;
  uint64_t bytes_sent_ = 0;
};

}  // namespace fedgraft
