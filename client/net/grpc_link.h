#pragma once

#include <functional>
#include <memory>
#include <string>

#include "client/agent/aggregator_link.h"
#include "common/runtime/scheduler.h"
#include "grpcpp/channel.h"
#include "proto/federation.grpc.pb.h"

namespace fedgraft {

// AggregatorLink over gRPC. Calls may be made from the strand only; answers are
// posted to it. `strand` outlives the link.
class GrpcLink final : public AggregatorLink {
 public:
  // `diagnose` explains, when the connection fails, what is wrong with this
  // site's own certificate ("" if nothing): TLS 1.3 hides the server's reason.
  GrpcLink(std::shared_ptr<grpc::Channel> channel, Scheduler& strand,
           std::function<std::string()> diagnose);
  // Cancels what is under way and waits until gRPC has let go of it. Replies
  // not yet delivered are posted as CANCELLED.
  ~GrpcLink() override;

  void Join(JoinRequest request, Reply<JoinReply> reply) override;
  void NextTask(NextTaskRequest request, Reply<NextTaskReply> reply) override;
  void SendHeartbeat(Heartbeat heartbeat, Reply<bool> reply) override;
  void FetchBlob(Digest digest, uint64_t offset,
                 std::function<absl::Status(ByteSpan)> sink,
                 Reply<Done> reply) override;
  void QueryUpload(UploadHeader header, Reply<UploadOffset> reply) override;
  void Submit(UploadHeader header, uint64_t offset,
              std::shared_ptr<ReadableFile> sealed,
              Reply<UploadReceipt> reply) override;
  void Report(SiteReport report, Reply<Done> reply) override;
  void AnswerStep(SecureAnswer answer, Reply<Done> reply) override;

 private:
  // Contexts of the calls under way, so that they can be cancelled.
  class Calls;

  absl::Status Explain(const grpc::Status& status) const;
  template <typename WireRequest, typename WireReply, typename Start>
  void Unary(WireRequest request, absl::Duration deadline, Start start,
             Reply<WireReply> reply);

  std::shared_ptr<Calls> calls_;
  std::unique_ptr<pb::Federation::Stub> stub_;
  Scheduler& strand_;
  std::function<std::string()> diagnose_;
};

}  // namespace fedgraft
