#pragma once

#include <atomic>

#include "aggregator/net/peer_authenticator.h"
#include "aggregator/net/refusal_counter.h"
#include "aggregator/round/coordinator.h"
#include "common/runtime/scheduler.h"
#include "proto/federation.grpc.pb.h"

namespace fedgraft {

// The site-facing gRPC service: authenticates, decodes, hands over to the
// coordinator's strand, encodes the answer. Bulk bytes stay off the strand:
// Submit appends to the spool and FetchBlob reads blobs on gRPC's threads.
// Everything passed in outlives the server that this is registered with.
class FederationService final : public pb::Federation::CallbackService {
 public:
  FederationService(Coordinator& coordinator, Scheduler& strand,
                    const PeerAuthenticator& authenticator,
                    RefusalCounter& refusals)
      : coordinator_(coordinator),
        strand_(strand),
        authenticator_(authenticator),
        refusals_(refusals) {}

  grpc::ServerUnaryReactor* Join(grpc::CallbackServerContext* context,
                                 const pb::JoinRequest* request,
                                 pb::JoinReply* reply) override;
  grpc::ServerUnaryReactor* NextTask(grpc::CallbackServerContext* context,
                                     const pb::NextTaskRequest* request,
                                     pb::NextTaskReply* reply) override;
  grpc::ServerUnaryReactor* Heartbeat(grpc::CallbackServerContext* context,
                                      const pb::HeartbeatRequest* request,
                                      pb::HeartbeatReply* reply) override;
  grpc::ServerUnaryReactor* UploadOffset(grpc::CallbackServerContext* context,
                                         const pb::UploadHeader* request,
                                         pb::UploadOffsetReply* reply) override;
  grpc::ServerUnaryReactor* AnswerStep(grpc::CallbackServerContext* context,
                                       const pb::SecureAnswer* request,
                                       pb::SecureAnswerReply* reply) override;
  grpc::ServerUnaryReactor* Report(grpc::CallbackServerContext* context,
                                   const pb::SiteReport* request,
                                   pb::ReportReply* reply) override;
  grpc::ServerWriteReactor<pb::BlobChunk>* FetchBlob(
      grpc::CallbackServerContext* context,
      const pb::FetchBlobRequest* request) override;
  grpc::ServerReadReactor<pb::SubmitChunk>* Submit(
      grpc::CallbackServerContext* context,
      pb::UploadReceipt* receipt) override;

 private:
  Coordinator& coordinator_;
  Scheduler& strand_;
  const PeerAuthenticator& authenticator_;
  RefusalCounter& refusals_;
};

}  // namespace fedgraft
