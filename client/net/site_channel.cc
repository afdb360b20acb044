#include "client/net/site_channel.h"

#include <string_view>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/net/grpc/tls.h"
#include "common/net/identity.h"
#include "common/net/x509.h"
#include "common/runtime/text_file.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/support/channel_arguments.h"

namespace fedgraft {

std::shared_ptr<grpc::Channel> OpenSiteChannel(const pb::ClientConfig& config,
                                               const std::string& federation) {
  const std::string& folder = config.identity_dir();
  const TlsFiles files = {JoinPath(folder, kIdentityKeyFile),
                          JoinPath(folder, kIdentityCertificateFile),
                          JoinPath(folder, kIdentityCaFile)};
  auto accept = [federation](std::string_view pem) -> absl::Status {
    FG_ASSIGN_OR_RETURN(const CertificateInfo info, ParseCertificate(pem));
    return CheckRole(info, CertificateRole::kAggregator, federation);
  };
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // The agent backs off itself; gRPC's own delay must not come on top.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  return grpc::CreateCustomChannel(
      config.aggregator(), ClientTls(files, std::move(accept)), arguments);
}

}  // namespace fedgraft
