#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregator/admin/allow_list.h"
#include "common/base/ids.h"
#include "common/crypto/ed25519.h"
#include "common/net/x509.h"
#include "common/runtime/clock.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// Files of the PKI folder, beside sites.json (see allow_list.h).
inline constexpr std::string_view kPkiCaKeyFile = "ca.key";
inline constexpr std::string_view kPkiCaFile = "ca.pem";
inline constexpr std::string_view kPkiAggregatorKeyFile = "aggregator.key";
inline constexpr std::string_view kPkiAggregatorFile = "aggregator.pem";
// Active sites and keys, to hand to the sites: see common/net/roster.h.
inline constexpr std::string_view kPkiRosterFile = "roster.json";
// operators/<name>.key and .pem; sites/<id>.pem
inline constexpr std::string_view kPkiOperatorsFolder = "operators";
inline constexpr std::string_view kPkiSitesFolder = "sites";

struct PkiOptions {
  std::string federation;
  // DNS names and IP addresses of the aggregator; at least one.
  std::vector<std::string> aggregator_names;
  std::string operator_name = "operator";
  int ca_days = 3650;
  int days = 365;  // of the aggregator's and the operator's certificate
};

struct ApproveRequest {
  std::string csr_pem;
  SiteId site;  // who the approver believes sent it
  int days = 365;
  // Approve although the site is known with another key or was revoked.
  bool replace = false;
};

struct Issued {
  std::string certificate_pem;
  CertificateInfo info;
};

// The federation's certificate authority: a folder with the CA's key, the
// aggregator's and operators' credentials, issued certificates and the
// allow-list. Every change is on disk before the call returns, the allow-list
// last. Private keys are files for the owner only (the FileStore sees to it).
// Not thread-safe; one process at a time changes a folder. `files` and `clock`
// outlive it.
class Pki {
 public:
  // Makes CA, aggregator and first operator. ALREADY_EXISTS if the folder holds
  // a CA; INVALID_ARGUMENT on bad names or validity.
  static absl::StatusOr<Pki> Init(FileStore& files, const Clock& clock,
                                  const PkiOptions& options);
  // NOT_FOUND if Init was not run.
  static absl::StatusOr<Pki> Open(FileStore& files, const Clock& clock);

  // Issues a site's certificate and puts the site on the allow-list; again with
  // the same key it is a renewal. The certificate's content comes from this
  // request and the CA alone, never from an extension of the CSR.
  // INVALID_ARGUMENT: not a CSR, not Ed25519, or for another site or
  // federation. PERMISSION_DENIED: its signature is wrong, or its key is
  // another party's. FAILED_PRECONDITION: needs `replace`.
  absl::StatusOr<Issued> Approve(const ApproveRequest& request);

  // Key and certificate in operators/<name>.*; an existing key is kept.
  // FAILED_PRECONDITION: the name was revoked.
  absl::StatusOr<Issued> IssueOperator(std::string_view name, int days);
  // A new certificate for the aggregator's existing key.
  absl::StatusOr<Issued> RenewAggregator(const std::vector<std::string>& names,
                                         int days);

  // By site id, "operator/<name>", or the serial of a certificate. The newest
  // serial or an id revokes its owner, an older serial only that certificate.
  // NOT_FOUND: no such thing. FAILED_PRECONDITION: it is revoked already.
  absl::Status Revoke(std::string_view site_or_serial);

  absl::StatusOr<AllowListContent> List() const;
  const std::string& federation() const { return federation_; }
  const std::string& ca_pem() const { return ca_pem_; }

 private:
  Pki(FileStore& files, const Clock& clock, std::string federation,
      SigningKey ca_key, std::string ca_pem);
  absl::Status Store(const AllowListContent& content);
  // Makes the certificate and writes it to `path`.
  absl::StatusOr<Issued> Issue(CertificateRole role, std::string_view id,
                               Bytes public_key, std::vector<std::string> hosts,
                               int days, std::string_view path);

  FileStore* files_;
  const Clock* clock_;
  std::string federation_;
  SigningKey ca_key_;
  std::string ca_pem_;
};

}  // namespace fedgraft
