#pragma once

#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "aggregator/admin/allow_list.h"
#include "aggregator/round/coordinator.h"
#include "common/net/x509.h"
#include "common/runtime/clock.h"
#include "grpcpp/server_context.h"

namespace fedgraft {

// Who is on the other end of a call: parses the certificate that TLS already
// verified against the CA and checks it against the allow-list. Asked for every
// call and, on streams, again while they run, so that a revocation takes effect
// at once. Thread-safe; `allow_list` and `clock` outlive it.
class PeerAuthenticator {
 public:
  PeerAuthenticator(const AllowList& allow_list, const Clock& clock)
      : allow_list_(allow_list), clock_(clock) {}

  // UNAUTHENTICATED: no readable certificate. PERMISSION_DENIED: another role
  // or federation, unknown site, revoked, expired, or another key than
  // approved.
  absl::StatusOr<SitePeer> Site(const grpc::AuthContext& context) const;
  // The operator's id.
  absl::StatusOr<std::string> Operator(const grpc::AuthContext& context) const;

 private:
  absl::StatusOr<CertificateInfo> Certificate(
      const grpc::AuthContext& context) const;

  const AllowList& allow_list_;
  const Clock& clock_;
  mutable absl::Mutex mutex_;
  // Parsed once per certificate; cleared when it grows beyond a limit.
  mutable std::map<std::string, CertificateInfo> parsed_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace fedgraft
