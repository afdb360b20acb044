#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/security/server_credentials.h"

// Mutual TLS 1.3, always. There is no insecure variant.

namespace fedgraft {

// Allows TLS 1.3 only: gRPC 1.51 has no setter for the minimum version, but
// every FedGraft key is Ed25519, which the one TLS 1.2 suite left by this call
// (RSA) cannot use. Sends gRPC's log to ours, and has Abseil's mutexes, gRPC's
// own, no longer look for lock cycles, which some builds of Abseil do at every
// lock.
// REQUIRES: called before the first use of gRPC in the process.
void SetUpGrpc();

// Absolute paths of PEM files. They are read again every `refresh`, so that a
// renewed certificate is used for new connections without a restart.
struct TlsFiles {
  std::string key;
  std::string certificate;
  std::string ca;
  absl::Duration refresh = absl::Seconds(5);
};

// Requires and verifies a client certificate of this CA; role and allow-list
// are checked per call by the service.
std::shared_ptr<grpc::ServerCredentials> ServerTls(const TlsFiles& files);

// Verifies the server's chain, then asks `accept` about its certificate (PEM):
// the role is checked in place of a host name, so an aggregator may be reached
// under any address.
std::shared_ptr<grpc::ChannelCredentials> ClientTls(
    const TlsFiles& files,
    std::function<absl::Status(std::string_view certificate_pem)> accept);

}  // namespace fedgraft
