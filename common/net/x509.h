#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/crypto/ed25519.h"

// Who somebody is: X.509 certificates with an Ed25519 key and exactly one
// subject alternative name fedgraft://<federation>/<role>/<id>. Everything here
// is a pure function; times come from the caller.

namespace fedgraft {

enum class CertificateRole { kSite, kAggregator, kOperator };
std::string_view RoleName(CertificateRole role);  // "site", …

// What a certificate says; whether it is genuine is VerifyCertificate's matter.
struct CertificateInfo {
  CertificateRole role = CertificateRole::kSite;
  std::string federation;
  std::string id;      // a SiteId's value when role is kSite
  std::string serial;  // lower-case hexadecimal
  absl::Time not_before;
  absl::Time not_after;
  Bytes public_key;  // Ed25519, 32 bytes
};

// What a certificate may be used for (extended key usage).
enum class CertificateUse { kClient, kServer };

// A PEM file is no longer than this.
inline constexpr size_t kPemBytesMax = size_t{64} << 10;

// INVALID_ARGUMENT unless 1–63 of a–z, 0–9, '-' and '_', starting with a letter
// or digit: the alphabet of federations, sites and operators. `what` names the
// thing in the message.
absl::Status CheckName(std::string_view what, std::string_view name);
// REQUIRES: both names pass CheckName.
std::string IdentityUri(std::string_view federation, CertificateRole role,
                        std::string_view id);

// The first certificate in `pem`. INVALID_ARGUMENT: not PEM, no or more than
// one FedGraft SAN, or a key that is not Ed25519.
absl::StatusOr<CertificateInfo> ParseCertificate(std::string_view pem);

// Whether `leaf_pem` was issued by the CA in `ca_pem`, is valid at `now` and
// may be used as `use`. INVALID_ARGUMENT if one cannot be parsed;
// PERMISSION_DENIED with the reason in words otherwise ("expired on …", "issued
// by another CA").
absl::Status VerifyCertificate(std::string_view leaf_pem,
                               std::string_view ca_pem, absl::Time now,
                               CertificateUse use);

// PERMISSION_DENIED unless `info` has this role in this federation.
absl::Status CheckRole(const CertificateInfo& info, CertificateRole role,
                       std::string_view federation);
// PERMISSION_DENIED if `info` is expired or not yet valid at `now`: for
// connections that outlive the certificate with which they began.
absl::Status CheckValidity(const CertificateInfo& info, absl::Time now);

// A certificate request of a site (PKCS#10, PEM): common name = site id,
// organisation = federation, the SAN for the reader's information.
absl::StatusOr<std::string> MakeSiteCsr(const SigningKey& key,
                                        std::string_view federation,
                                        const SiteId& site);

// What a request proves and claims. No extension of a request is read.
struct CsrInfo {
  std::string common_name;   // claimed
  std::string organisation;  // claimed; may be empty
  Bytes public_key;          // Ed25519; possession is proved
};
// INVALID_ARGUMENT: not a request, or not Ed25519. PERMISSION_DENIED: its
// signature is not by its own key.
absl::StatusOr<CsrInfo> ParseCsr(std::string_view pem);

// TLS 1.3 hides from a client why a server refused it. This examines the
// client's own files and says in one sentence what is wrong with them and what
// to do; empty if nothing is.
std::string DiagnoseCredentials(std::string_view certificate_pem,
                                std::string_view key_pem,
                                std::string_view ca_pem, absl::Time now);

struct ExpiryWarning {
  int threshold_days = 0;  // 30, 7, 1; 0: expired
  std::string text;
};
// Nothing while more than 30 days remain. Callers that log it once per
// threshold compare `threshold_days`.
std::optional<ExpiryWarning> WarnOfExpiry(const CertificateInfo& info,
                                          absl::Time now);

// For people to read to each other: the SHA-256 of the 32-byte public key in 16
// groups of 4 hexadecimal digits.
std::string KeyFingerprint(ByteSpan public_key);

}  // namespace fedgraft
