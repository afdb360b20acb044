#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "common/base/bytes.h"
#include "common/protocol/messages.h"
#include "common/protocol/reply.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// Port: the site's connection to the aggregator. Calls are made on the agent's
// strand and answered there, each exactly once; calls under way at Shutdown
// are answered CANCELLED. UNAVAILABLE means "try again later"; a refusal
// (RefusalOf in common/protocol/messages.h) is final for that message.
class AggregatorLink {
 public:
  virtual ~AggregatorLink() = default;
  virtual void Join(JoinRequest request, Reply<JoinReply> reply) = 0;
  virtual void NextTask(NextTaskRequest request,
                        Reply<NextTaskReply> reply) = 0;
  // Answers true if the aggregator no longer wants the task.
  virtual void SendHeartbeat(Heartbeat heartbeat, Reply<bool> reply) = 0;
  // Bytes from `offset`, in order, through `sink` (on the strand; an error of
  // the sink ends the fetch with it), then `reply`.
  virtual void FetchBlob(Digest digest, uint64_t offset,
                         std::function<absl::Status(ByteSpan)> sink,
                         Reply<Done> reply) = 0;
  virtual void QueryUpload(UploadHeader header, Reply<UploadOffset> reply) = 0;
  // Sends `sealed` from `offset` to its end.
  virtual void Submit(UploadHeader header, uint64_t offset,
                      std::shared_ptr<ReadableFile> sealed,
                      Reply<UploadReceipt> reply) = 0;
  virtual void Report(SiteReport report, Reply<Done> reply) = 0;
  virtual void AnswerStep(SecureAnswer answer, Reply<Done> reply) = 0;
};

}  // namespace fedgraft
