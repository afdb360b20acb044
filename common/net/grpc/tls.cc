#include "common/net/grpc/tls.h"

#include <cstdlib>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "common/base/check.h"
#include "common/base/logging.h"
#include "grpc/support/log.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_certificate_verifier.h"
#include "grpcpp/security/tls_credentials_options.h"

namespace fedgraft {
namespace {

using grpc::experimental::CertificateVerifier;
using grpc::experimental::ExternalCertificateVerifier;
using grpc::experimental::FileWatcherCertificateProvider;
using grpc::experimental::TlsCustomVerificationCheckRequest;

// Asks a function about the peer's leaf certificate. Synchronous.
class RoleVerifier : public ExternalCertificateVerifier {
 public:
  explicit RoleVerifier(std::function<absl::Status(std::string_view)> accept)
      : accept_(std::move(accept)) {}

  bool Verify(TlsCustomVerificationCheckRequest* request,
              std::function<void(grpc::Status)>,
              grpc::Status* sync_status) override {
    const grpc::string_ref pem = request->peer_cert();
    const absl::Status status =
        accept_(std::string_view(pem.data(), pem.size()));
    if (!status.ok()) {
      FG_LOG_WARNING("server certificate refused: {}",
                     std::string(status.message()));
      *sync_status = grpc::Status(grpc::StatusCode::UNAUTHENTICATED,
                                  std::string(status.message()));
    } else {
      *sync_status = grpc::Status::OK;
    }
    return true;
  }

  void Cancel(TlsCustomVerificationCheckRequest*) override {}

 private:
  std::function<absl::Status(std::string_view)> accept_;
};

std::shared_ptr<FileWatcherCertificateProvider> Watch(const TlsFiles& files) {
  // gRPC counts in whole seconds and aborts below one.
  const auto seconds = static_cast<unsigned>(
      std::max<int64_t>(1, absl::ToInt64Seconds(files.refresh)));
  return std::make_shared<FileWatcherCertificateProvider>(
      files.key, files.certificate, files.ca, seconds);
}

}  // namespace

void SetUpGrpc() {
  // Failed handshakes are the daily business of an open port: what matters is
  // logged by those who make or take the call.
  gpr_set_log_function(
      [](gpr_log_func_args* args) { FG_LOG_DEBUG("gRPC: {}", args->message); });
  FG_CHECK(setenv("GRPC_SSL_CIPHER_SUITES", "ECDHE-RSA-AES256-GCM-SHA384",
                  /*overwrite=*/1) == 0);
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

std::shared_ptr<grpc::ServerCredentials> ServerTls(const TlsFiles& files) {
  grpc::experimental::TlsServerCredentialsOptions options(Watch(files));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(options);
}

std::shared_ptr<grpc::ChannelCredentials> ClientTls(
    const TlsFiles& files,
    std::function<absl::Status(std::string_view)> accept) {
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(Watch(files));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_verify_server_certs(true);
  options.set_check_call_host(false);
  options.set_certificate_verifier(
      ExternalCertificateVerifier::Create<RoleVerifier>(std::move(accept)));
  return grpc::experimental::TlsCredentials(options);
}

}  // namespace fedgraft
