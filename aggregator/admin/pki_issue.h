#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/bytes.h"
#include "common/crypto/ed25519.h"
#include "common/net/x509.h"

// Makes certificates. Every field comes from these structs: nothing is taken
// over from a request.

namespace fedgraft {

struct CertificateSpec {
  std::string federation;
  CertificateRole role = CertificateRole::kSite;
  std::string id;
  Bytes public_key;                // Ed25519, 32 bytes
  std::vector<std::string> hosts;  // DNS names and IP addresses; aggregator
  absl::Time not_before;
  absl::Time not_after;
};

// INVALID_ARGUMENT unless a DNS name or an IP address.
absl::Status CheckHost(std::string_view host);

// A self-signed CA certificate, PEM. REQUIRES: `federation` passes CheckName.
std::string MakeCaCertificate(const SigningKey& key,
                              std::string_view federation,
                              absl::Time not_before, absl::Time not_after);

// The federation whose CA this is. INVALID_ARGUMENT: not a FedGraft CA.
struct CaInfo {
  std::string federation;
  Bytes public_key;
  absl::Time not_after;
};
absl::StatusOr<CaInfo> ParseCaCertificate(std::string_view pem);

// Signed by the CA, PEM; ends no later than the CA's certificate. Sites and
// operators are TLS clients, the aggregator is client and server.
// INVALID_ARGUMENT: bad names or hosts.
absl::StatusOr<std::string> IssueCertificate(const CertificateSpec& spec,
                                             const SigningKey& ca_key,
                                             std::string_view ca_pem);

}  // namespace fedgraft
