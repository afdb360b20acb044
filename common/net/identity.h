#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/ids.h"
#include "common/base/secret.h"
#include "common/crypto/ed25519.h"
#include "common/net/x509.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// Files of a site's identity folder.
inline constexpr std::string_view kIdentityKeyFile = "site.key";
inline constexpr std::string_view kIdentityCertificateFile = "site.pem";
inline constexpr std::string_view kIdentityCaFile = "ca.pem";
inline constexpr std::string_view kIdentityCsrFile = "site.csr";
inline constexpr std::string_view kIdentityRosterFile = "roster.json";

// A site's key and certificate, as loaded. The key is made here and never
// leaves; request and certificate travel as files. Life cycle: CreateKeyAndCsr,
// (the centre approves), InstallCertificate, Load; again from the request for a
// renewal, with the same key. Immutable; thread-safe.
class Identity {
 public:
  // Makes the key unless there is one (which is never overwritten), writes the
  // request beside it and returns it. INVALID_ARGUMENT: a bad name or an
  // unreadable key. FAILED_PRECONDITION: the folder holds a certificate of
  // another site or federation.
  static absl::StatusOr<std::string> CreateKeyAndCsr(
      FileStore& files, std::string_view federation, const SiteId& site);

  // Checks everything, then stores both. PERMISSION_DENIED: the certificate is
  // not of this CA, not valid at `now`, or not a site's. FAILED_PRECONDITION:
  // no key here, the certificate is for another key or another site than was
  // requested, or another CA is installed already.
  static absl::StatusOr<CertificateInfo> InstallCertificate(
      FileStore& files, std::string_view certificate_pem,
      std::string_view ca_pem, absl::Time now);

  // FAILED_PRECONDITION: a file is missing (naming the step that makes it), or
  // key and certificate do not belong together. Does not look at dates: see
  // DiagnoseCredentials and WarnOfExpiry.
  static absl::StatusOr<Identity> Load(FileStore& files);

  // Whether key, certificate or CA differ from what was loaded. On an error
  // (a file is being replaced) go on with what is loaded.
  absl::StatusOr<bool> Changed(FileStore& files) const;

  const SigningKey& key() const { return key_; }
  const CertificateInfo& info() const { return info_; }
  const std::string& certificate_pem() const { return certificate_pem_; }
  const std::string& ca_pem() const { return ca_pem_; }
  const SecretBytes& key_pem() const { return key_pem_; }

 private:
  Identity(SigningKey key, SecretBytes key_pem, std::string certificate_pem,
           std::string ca_pem, CertificateInfo info);

  SigningKey key_;
  SecretBytes key_pem_;
  std::string certificate_pem_;
  std::string ca_pem_;
  CertificateInfo info_;
};

}  // namespace fedgraft
