#include "aggregator/net/federation_service.h"

#include <utility>

#include "aggregator/net/blob_reactor.h"
#include "aggregator/net/upload_reactor.h"
#include "common/net/grpc/status_bridge.h"
#include "common/protocol/codec.h"

namespace fedgraft {
namespace {

// Authenticates and decodes; then runs `call(peer, message, reactor)` on the
// strand, which finishes the reactor exactly once.
template <typename Wire, typename Call>
grpc::ServerUnaryReactor* Unary(const PeerAuthenticator& authenticator,
                                Scheduler& strand,
                                grpc::CallbackServerContext* context,
                                const Wire& wire, Call call) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  auto peer = authenticator.Site(*context->auth_context());
  if (!peer.ok()) {
    reactor->Finish(ToGrpc(peer.status()));
    return reactor;
  }
  auto message = FromWire(wire);
  if (!message.ok()) {
    reactor->Finish(ToGrpc(message.status()));
    return reactor;
  }
  strand.Dispatch([peer = *std::move(peer), message = *std::move(message),
                   reactor,
                   call = std::move(call)] { call(peer, message, reactor); });
  return reactor;
}

// A Reply that encodes its value into `wire` and finishes the reactor.
template <typename Value, typename Wire>
Reply<Value> Answer(grpc::ServerUnaryReactor* reactor, Wire* wire) {
  return [reactor, wire](absl::StatusOr<Value> value) {
    if (value.ok()) *wire = ToWire(*value);
    reactor->Finish(ToGrpc(value.status()));
  };
}

}  // namespace

grpc::ServerUnaryReactor* FederationService::Join(
    grpc::CallbackServerContext* context, const pb::JoinRequest* request,
    pb::JoinReply* reply) {
  return Unary(authenticator_, strand_, context, *request,
               [this, reply](const SitePeer& peer, const JoinRequest& join,
                             grpc::ServerUnaryReactor* reactor) {
                 coordinator_.Join(peer, join,
                                   Answer<JoinReply>(reactor, reply));
               });
}

grpc::ServerUnaryReactor* FederationService::NextTask(
    grpc::CallbackServerContext* context, const pb::NextTaskRequest* request,
    pb::NextTaskReply* reply) {
  return Unary(authenticator_, strand_, context, *request,
               [this, reply](const SitePeer& peer, const NextTaskRequest& next,
                             grpc::ServerUnaryReactor* reactor) {
                 coordinator_.NextTask(peer, next,
                                       Answer<NextTaskReply>(reactor, reply));
               });
}

grpc::ServerUnaryReactor* FederationService::Heartbeat(
    grpc::CallbackServerContext* context, const pb::HeartbeatRequest* request,
    pb::HeartbeatReply* reply) {
  return Unary(
      authenticator_, strand_, context, *request,
      [this, reply](const SitePeer& peer, const fedgraft::Heartbeat& heartbeat,
                    grpc::ServerUnaryReactor* reactor) {
        coordinator_.Heard(peer, heartbeat,
                           [reply, reactor](absl::StatusOr<bool> cancel) {
                             reply->set_cancel(cancel.ok() && *cancel);
                             reactor->Finish(ToGrpc(cancel.status()));
                           });
      });
}

grpc::ServerUnaryReactor* FederationService::UploadOffset(
    grpc::CallbackServerContext* context, const pb::UploadHeader* request,
    pb::UploadOffsetReply* reply) {
  return Unary(authenticator_, strand_, context, *request,
               [this, reply](const SitePeer& peer, const UploadHeader& header,
                             grpc::ServerUnaryReactor* reactor) {
                 coordinator_.QueryUpload(
                     peer, header,
                     Answer<fedgraft::UploadOffset>(reactor, reply));
               });
}

grpc::ServerUnaryReactor* FederationService::Report(
    grpc::CallbackServerContext* context, const pb::SiteReport* request,
    pb::ReportReply*) {
  return Unary(authenticator_, strand_, context, *request,
               [this](const SitePeer& peer, const SiteReport& report,
                      grpc::ServerUnaryReactor* reactor) {
                 coordinator_.Report(peer, report,
                                     [reactor](absl::StatusOr<Done> done) {
                                       reactor->Finish(ToGrpc(done.status()));
                                     });
               });
}

grpc::ServerUnaryReactor* FederationService::AnswerStep(
    grpc::CallbackServerContext* context, const pb::SecureAnswer* request,
    pb::SecureAnswerReply*) {
  return Unary(authenticator_, strand_, context, *request,
               [this](const SitePeer& peer, const SecureAnswer& answer,
                      grpc::ServerUnaryReactor* reactor) {
                 coordinator_.AnswerStep(
                     peer, answer, [reactor](const absl::StatusOr<Done>& done) {
                       reactor->Finish(ToGrpc(done.status()));
                     });
               });
}

grpc::ServerWriteReactor<pb::BlobChunk>* FederationService::FetchBlob(
    grpc::CallbackServerContext* context, const pb::FetchBlobRequest* request) {
  return new BlobReactor(coordinator_, strand_, authenticator_, context,
                         *request);
}

grpc::ServerReadReactor<pb::SubmitChunk>* FederationService::Submit(
    grpc::CallbackServerContext* context, pb::UploadReceipt* receipt) {
  return new UploadReactor({coordinator_, strand_, authenticator_, refusals_},
                           context, receipt);
}

}  // namespace fedgraft
