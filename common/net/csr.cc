#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/net/openssl_x509.h"
#include "common/net/x509.h"

// Certificate requests: MakeSiteCsr and ParseCsr of x509.h.

namespace fedgraft {
namespace {

using internal::X509ReqPtr;

// Empty if the subject has no such field, or one with a NUL inside.
std::string SubjectField(X509_REQ* csr, int nid) {
  X509_NAME* subject = X509_REQ_get_subject_name(csr);
  const int index = X509_NAME_get_index_by_NID(subject, nid, -1);
  if (index < 0) return "";
  const ASN1_STRING* value =
      X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index));
  std::string text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                   static_cast<size_t>(ASN1_STRING_length(value)));
  return text.find('\0') == std::string::npos ? text : "";
}

}  // namespace

absl::StatusOr<std::string> MakeSiteCsr(const SigningKey& key,
                                        std::string_view federation,
                                        const SiteId& site) {
  FG_RETURN_IF_ERROR(CheckName("federation", federation));
  FG_RETURN_IF_ERROR(SiteId::Parse(site.value).status());
  const X509ReqPtr csr(X509_REQ_new());
  const PkeyPtr pkey = internal::PrivateKey(key);
  FG_CHECK(csr != nullptr);
  FG_CHECK(X509_REQ_set_version(csr.get(), 0) == 1);
  X509_NAME* subject = X509_REQ_get_subject_name(csr.get());
  internal::AddNameEntry(subject, "O", federation);
  internal::AddNameEntry(subject, "CN", site.value);
  FG_CHECK(X509_REQ_set_pubkey(csr.get(), pkey.get()) == 1);

  const internal::ExtensionPtr san = internal::MakeExtension(
      nullptr, nullptr, NID_subject_alt_name,
      absl::StrCat(
          "URI:", IdentityUri(federation, CertificateRole::kSite, site.value)));
  STACK_OF(X509_EXTENSION)* extensions = sk_X509_EXTENSION_new_null();
  FG_CHECK(extensions != nullptr);
  FG_CHECK(sk_X509_EXTENSION_push(extensions, san.get()) == 1);
  FG_CHECK(X509_REQ_add_extensions(csr.get(), extensions) == 1);
  sk_X509_EXTENSION_free(extensions);
  FG_CHECK(X509_REQ_sign(csr.get(), pkey.get(), nullptr) > 0);
  return internal::WriteCsr(csr.get());
}

absl::StatusOr<CsrInfo> ParseCsr(std::string_view pem) {
  FG_ASSIGN_OR_RETURN(const X509ReqPtr csr, internal::ReadCsr(pem));
  EVP_PKEY* key = X509_REQ_get0_pubkey(csr.get());
  CsrInfo info;
  FG_ASSIGN_OR_RETURN(info.public_key,
                      internal::Ed25519PublicKey(key, "request"));
  if (X509_REQ_verify(csr.get(), key) != 1) {
    TakeOpenSslError();
    return absl::PermissionDeniedError(
        "the request is not signed by its own key: it was changed, or its "
        "sender does not have the key");
  }
  info.common_name = SubjectField(csr.get(), NID_commonName);
  info.organisation = SubjectField(csr.get(), NID_organizationName);
  return info;
}

}  // namespace fedgraft
