#include "aggregator/net/admin_client.h"

#include <utility>

#include "common/base/status_macros.h"
#include "common/net/grpc/status_bridge.h"
#include "common/net/x509.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"

namespace fedgraft {
namespace {

constexpr absl::Duration kDeadline = absl::Seconds(15);
// Storing a large backbone takes a while.
constexpr absl::Duration kStartDeadline = absl::Minutes(10);
// A long run of many sites with its shift report.
constexpr int kMessageBytesMax = 64 << 20;

void SetDeadline(grpc::ClientContext& context, absl::Duration deadline) {
  context.set_deadline(absl::ToChronoTime(absl::Now() + deadline));
}

}  // namespace

std::unique_ptr<AdminClient> AdminClient::Connect(
    const std::string& address, const TlsFiles& files,
    const std::string& federation) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  auto channel = grpc::CreateCustomChannel(
      address,
      ClientTls(files,
                [federation](std::string_view pem) -> absl::Status {
                  FG_ASSIGN_OR_RETURN(const CertificateInfo info,
                                      ParseCertificate(pem));
                  return CheckRole(info, CertificateRole::kAggregator,
                                   federation);
                }),
      arguments);
  return std::unique_ptr<AdminClient>(
      new AdminClient(pb::Admin::NewStub(std::move(channel))));
}

absl::StatusOr<pb::StartRunReply> AdminClient::StartRun(
    ByteSpan plan, const std::string& backbone_path) {
  grpc::ClientContext context;
  SetDeadline(context, kStartDeadline);
  pb::StartRunRequest request;
  request.set_plan(std::string(AsText(plan)));
  request.set_backbone_path(backbone_path);
  pb::StartRunReply reply;
  const grpc::Status status = stub_->StartRun(&context, request, &reply);
  if (!status.ok()) return FromGrpc(status);
  return reply;
}

absl::Status AdminClient::StopRun(const std::string& run,
                                  const std::string& reason) {
  grpc::ClientContext context;
  SetDeadline(context, kDeadline);
  pb::StopRunRequest request;
  request.set_run_id(run);
  request.set_reason(reason);
  pb::AdminReply reply;
  return FromGrpc(stub_->StopRun(&context, request, &reply));
}

absl::Status AdminClient::PauseRun(const std::string& run, bool paused) {
  grpc::ClientContext context;
  SetDeadline(context, kDeadline);
  pb::PauseRunRequest request;
  request.set_run_id(run);
  request.set_paused(paused);
  pb::AdminReply reply;
  return FromGrpc(stub_->PauseRun(&context, request, &reply));
}

absl::StatusOr<pb::StatusReply> AdminClient::Status(bool history) {
  grpc::ClientContext context;
  SetDeadline(context, kDeadline);
  pb::StatusRequest request;
  request.set_history(history);
  pb::StatusReply reply;
  const grpc::Status status = stub_->Status(&context, request, &reply);
  if (!status.ok()) return FromGrpc(status);
  return reply;
}

absl::Status AdminClient::Watch(
    const std::function<bool(const pb::StatusReply&)>& update) {
  grpc::ClientContext context;
  const auto reader = stub_->Watch(&context, pb::StatusRequest());
  pb::StatusReply status;
  while (reader->Read(&status)) {
    if (!update(status)) {
      context.TryCancel();
      reader->Finish();
      return absl::OkStatus();
    }
  }
  return FromGrpc(reader->Finish());
}

}  // namespace fedgraft
