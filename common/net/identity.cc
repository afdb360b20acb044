#include "common/net/identity.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr absl::string_view kEnrollHint =
    "run fedgraft-client enroll to make key and request";

// A key file's bytes, wiped when done.
absl::StatusOr<SecretBytes> ReadSecret(FileStore& files,
                                       std::string_view path) {
  FG_ASSIGN_OR_RETURN(const auto file, files.OpenRead(path));
  if (file->size_bytes() > kPemBytesMax) {
    return absl::InvalidArgumentError("the private key file is too large");
  }
  SecretBytes content(file->size_bytes());
  FG_RETURN_IF_ERROR(file->ReadAt(0, content.mutable_span()));
  return content;
}

absl::StatusOr<std::string> ReadText(FileStore& files, std::string_view path) {
  FG_ASSIGN_OR_RETURN(const Bytes content, ReadAll(files, path));
  return std::string(AsText(content));
}

// As above, but a missing file is FAILED_PRECONDITION with advice.
template <typename T>
absl::Status Missing(const absl::StatusOr<T>& file, std::string_view name,
                     absl::string_view advice) {
  if (!absl::IsNotFound(file.status())) return file.status();
  return absl::FailedPreconditionError(
      absl::StrCat("the identity folder has no ",
                   absl::string_view(name.data(), name.size()), ": ", advice));
}

absl::StatusOr<SecretBytes> LoadOrMakeKey(FileStore& files) {
  auto existing = ReadSecret(files, kIdentityKeyFile);
  if (!absl::IsNotFound(existing.status())) return existing;
  SecretBytes pem = SigningKey::Generate().ToPem();
  FG_RETURN_IF_ERROR(WriteAtomically(files, kIdentityKeyFile, pem.span()));
  return pem;
}

}  // namespace

Identity::Identity(SigningKey key, SecretBytes key_pem,
                   std::string certificate_pem, std::string ca_pem,
                   CertificateInfo info)
    : key_(std::move(key)),
      key_pem_(std::move(key_pem)),
      certificate_pem_(std::move(certificate_pem)),
      ca_pem_(std::move(ca_pem)),
      info_(std::move(info)) {}

absl::StatusOr<std::string> Identity::CreateKeyAndCsr(
    FileStore& files, std::string_view federation, const SiteId& site) {
  FG_RETURN_IF_ERROR(CheckName("federation", federation));
  FG_RETURN_IF_ERROR(SiteId::Parse(site.value).status());
  const auto installed = ReadText(files, kIdentityCertificateFile);
  if (installed.ok()) {
    FG_ASSIGN_OR_RETURN(const CertificateInfo info,
                        ParseCertificate(*installed));
    if (info.id != site.value || info.federation != federation) {
      return absl::FailedPreconditionError(absl::StrCat(
          "this folder is the identity of site ", info.id, " in federation ",
          info.federation, "; use another folder for site ", site.value));
    }
  } else if (!absl::IsNotFound(installed.status())) {
    return installed.status();
  }
  FG_ASSIGN_OR_RETURN(const SecretBytes pem, LoadOrMakeKey(files));
  const auto key = SigningKey::FromPem(AsText(pem.span()));
  if (!key.ok()) return Annotate(key.status(), kIdentityKeyFile);
  FG_ASSIGN_OR_RETURN(std::string csr, MakeSiteCsr(*key, federation, site));
  FG_RETURN_IF_ERROR(WriteAtomically(files, kIdentityCsrFile, AsBytes(csr)));
  return csr;
}

absl::StatusOr<CertificateInfo> Identity::InstallCertificate(
    FileStore& files, std::string_view certificate_pem, std::string_view ca_pem,
    absl::Time now) {
  FG_ASSIGN_OR_RETURN(CertificateInfo info, ParseCertificate(certificate_pem));
  FG_RETURN_IF_ERROR(CheckRole(info, CertificateRole::kSite, info.federation));
  FG_RETURN_IF_ERROR(
      VerifyCertificate(certificate_pem, ca_pem, now, CertificateUse::kClient));
  const auto key_pem = ReadSecret(files, kIdentityKeyFile);
  FG_RETURN_IF_ERROR(Missing(key_pem, kIdentityKeyFile, kEnrollHint));
  FG_ASSIGN_OR_RETURN(const SigningKey key,
                      SigningKey::FromPem(AsText(key_pem->span())));
  if (key.PublicKey() != info.public_key) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the certificate is for the key ", KeyFingerprint(info.public_key),
        " but this site's key is ", KeyFingerprint(key.PublicKey())));
  }
  const auto csr_pem = ReadText(files, kIdentityCsrFile);
  FG_RETURN_IF_ERROR(Missing(csr_pem, kIdentityCsrFile, kEnrollHint));
  FG_ASSIGN_OR_RETURN(const CsrInfo csr, ParseCsr(*csr_pem));
  if (csr.common_name != info.id || csr.organisation != info.federation) {
    return absl::FailedPreconditionError(
        absl::StrCat("the certificate names site ", info.id, " in federation ",
                     info.federation, "; requested was ", csr.common_name,
                     " in ", csr.organisation));
  }
  const auto old_ca = ReadText(files, kIdentityCaFile);
  if (old_ca.ok() && *old_ca != ca_pem) {
    return absl::FailedPreconditionError(
        "another CA is installed at this site; if the federation really has a "
        "new CA, remove ca.pem from the identity folder first");
  }
  if (!old_ca.ok() && !absl::IsNotFound(old_ca.status())) {
    return old_ca.status();
  }
  FG_RETURN_IF_ERROR(WriteAtomically(files, kIdentityCaFile, AsBytes(ca_pem)));
  FG_RETURN_IF_ERROR(WriteAtomically(files, kIdentityCertificateFile,
                                     AsBytes(certificate_pem)));
  return info;
}

absl::StatusOr<Identity> Identity::Load(FileStore& files) {
  auto key_pem = ReadSecret(files, kIdentityKeyFile);
  FG_RETURN_IF_ERROR(Missing(key_pem, kIdentityKeyFile, kEnrollHint));
  auto certificate_pem = ReadText(files, kIdentityCertificateFile);
  constexpr absl::string_view kInstallHint =
      "have the request (site.csr) approved by the centre, then run "
      "fedgraft-client enroll with the certificate and the CA's";
  FG_RETURN_IF_ERROR(
      Missing(certificate_pem, kIdentityCertificateFile, kInstallHint));
  auto ca_pem = ReadText(files, kIdentityCaFile);
  FG_RETURN_IF_ERROR(Missing(ca_pem, kIdentityCaFile, kInstallHint));
  auto key = SigningKey::FromPem(AsText(key_pem->span()));
  if (!key.ok()) return Annotate(key.status(), kIdentityKeyFile);
  auto info = ParseCertificate(*certificate_pem);
  if (!info.ok()) return Annotate(info.status(), kIdentityCertificateFile);
  FG_RETURN_IF_ERROR(
      CheckRole(*info, CertificateRole::kSite, info->federation));
  if (key->PublicKey() != info->public_key) {
    return absl::FailedPreconditionError(absl::StrCat(
        "site.pem is for the key ", KeyFingerprint(info->public_key),
        " but site.key is ", KeyFingerprint(key->PublicKey())));
  }
  return Identity(*std::move(key), *std::move(key_pem),
                  *std::move(certificate_pem), *std::move(ca_pem),
                  *std::move(info));
}

absl::StatusOr<bool> Identity::Changed(FileStore& files) const {
  FG_ASSIGN_OR_RETURN(const SecretBytes key,
                      ReadSecret(files, kIdentityKeyFile));
  FG_ASSIGN_OR_RETURN(const std::string certificate,
                      ReadText(files, kIdentityCertificateFile));
  FG_ASSIGN_OR_RETURN(const std::string ca, ReadText(files, kIdentityCaFile));
  return key.span() != key_pem_.span() || certificate != certificate_pem_ ||
         ca != ca_pem_;
}

}  // namespace fedgraft
