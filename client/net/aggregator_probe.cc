#include "client/net/aggregator_probe.h"

#include "client/net/site_channel.h"
#include "common/base/version.h"
#include "common/net/grpc/status_bridge.h"
#include "common/protocol/messages.h"
#include "grpcpp/client_context.h"
#include "proto/federation.grpc.pb.h"

namespace fedgraft {

absl::Status ProbeAggregator(const pb::ClientConfig& config,
                             const Identity& identity) {
  const auto stub = pb::Federation::NewStub(
      OpenSiteChannel(config, identity.info().federation));
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(10)));
  context.set_wait_for_ready(false);
  pb::JoinRequest request;
  request.set_protocol_version(kProtocolVersion);
  request.set_software_version(kVersion);
  pb::JoinReply reply;
  return FromGrpc(stub->Join(&context, request, &reply));
}

}  // namespace fedgraft
