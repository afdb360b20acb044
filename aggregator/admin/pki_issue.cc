#include "aggregator/admin/pki_issue.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/crypto/system_random.h"
#include "common/net/openssl_x509.h"

namespace fedgraft {
namespace {

using internal::X509Ptr;

constexpr absl::string_view kCaUnit = "FedGraft CA";

absl::string_view View(std::string_view text) {
  return {text.data(), text.size()};
}

bool IsIpAddress(std::string_view host) {
  ASN1_OCTET_STRING* address = a2i_IPADDRESS(std::string(host).c_str());
  TakeOpenSslError();
  if (address == nullptr) return false;
  ASN1_OCTET_STRING_free(address);
  return true;
}

// 127 random bits: positive, and never the same twice.
void SetSerial(X509* certificate) {
  std::array<uint8_t, 16> bytes;
  SystemRandom().Fill(absl::MakeSpan(bytes));
  bytes[0] = static_cast<uint8_t>((bytes[0] & 0x7f) | 0x40);
  BIGNUM* number = BN_bin2bn(bytes.data(), bytes.size(), nullptr);
  FG_CHECK(number != nullptr);
  FG_CHECK(BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) !=
           nullptr);
  BN_free(number);
}

void AddExtension(X509* certificate, X509* issuer, int nid,
                  const std::string& value) {
  const internal::ExtensionPtr extension =
      internal::MakeExtension(issuer, certificate, nid, value);
  FG_CHECK(X509_add_ext(certificate, extension.get(), -1) == 1);
}

// Version, serial number, dates and key.
X509Ptr Start(EVP_PKEY* key, absl::Time not_before, absl::Time not_after) {
  X509Ptr certificate(X509_new());
  FG_CHECK(certificate != nullptr);
  FG_CHECK(X509_set_version(certificate.get(), 2) == 1);  // X.509 v3
  SetSerial(certificate.get());
  FG_CHECK(ASN1_TIME_set(X509_getm_notBefore(certificate.get()),
                         absl::ToTimeT(not_before)) != nullptr);
  FG_CHECK(ASN1_TIME_set(X509_getm_notAfter(certificate.get()),
                         absl::ToTimeT(not_after)) != nullptr);
  FG_CHECK(X509_set_pubkey(certificate.get(), key) == 1);
  return certificate;
}

std::string Sign(X509* certificate, EVP_PKEY* key) {
  FG_CHECK(X509_sign(certificate, key, nullptr) > 0);
  return internal::WriteCertificate(certificate);
}

std::string NameField(const X509_NAME* name, int nid) {
  char text[128];
  const int size = X509_NAME_get_text_by_NID(const_cast<X509_NAME*>(name), nid,
                                             text, sizeof(text));
  return size < 0 ? "" : std::string(text, static_cast<size_t>(size));
}

std::string AlternativeNames(const CertificateSpec& spec) {
  std::string names =
      absl::StrCat("URI:", IdentityUri(spec.federation, spec.role, spec.id));
  for (const std::string& host : spec.hosts) {
    absl::StrAppend(&names, IsIpAddress(host) ? ",IP:" : ",DNS:", host);
  }
  return names;
}

absl::Status CheckSpec(const CertificateSpec& spec) {
  FG_RETURN_IF_ERROR(CheckName("federation", spec.federation));
  FG_RETURN_IF_ERROR(CheckName(RoleName(spec.role), spec.id));
  for (const std::string& host : spec.hosts) {
    FG_RETURN_IF_ERROR(CheckHost(host));
  }
  if (spec.public_key.size() != 32 || spec.not_before >= spec.not_after) {
    return absl::InvalidArgumentError(
        "a certificate needs an Ed25519 key and a positive time of validity");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckHost(std::string_view host) {
  if (IsIpAddress(host)) return absl::OkStatus();
  bool ok = !host.empty() && host.size() <= 253;
  for (absl::string_view label : absl::StrSplit(View(host), '.')) {
    ok = ok && !label.empty() && label.size() <= 63 && label.front() != '-' &&
         label.back() != '-' &&
         std::all_of(label.begin(), label.end(), [](unsigned char c) {
           return absl::ascii_isalnum(c) || c == '-';
         });
  }
  if (ok) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("\"", absl::CHexEscape(View(host)),
                   "\" is neither a DNS name nor an IP address"));
}

std::string MakeCaCertificate(const SigningKey& key,
                              std::string_view federation,
                              absl::Time not_before, absl::Time not_after) {
  const PkeyPtr pkey = internal::PrivateKey(key);
  const X509Ptr ca = Start(pkey.get(), not_before, not_after);
  X509_NAME* name = X509_get_subject_name(ca.get());
  internal::AddNameEntry(name, "O", federation);
  internal::AddNameEntry(name, "OU",
                         std::string_view(kCaUnit.data(), kCaUnit.size()));
  internal::AddNameEntry(name, "CN",
                         absl::StrCat(View(federation), " FedGraft CA"));
  FG_CHECK(X509_set_issuer_name(ca.get(), name) == 1);
  AddExtension(ca.get(), ca.get(), NID_basic_constraints,
               "critical,CA:TRUE,pathlen:0");
  AddExtension(ca.get(), ca.get(), NID_key_usage,
               "critical,keyCertSign,cRLSign");
  AddExtension(ca.get(), ca.get(), NID_subject_key_identifier, "hash");
  return Sign(ca.get(), pkey.get());
}

absl::StatusOr<CaInfo> ParseCaCertificate(std::string_view pem) {
  FG_ASSIGN_OR_RETURN(const X509Ptr ca, internal::ReadCertificate(pem));
  const X509_NAME* name = X509_get_subject_name(ca.get());
  CaInfo info;
  info.federation = NameField(name, NID_organizationName);
  if (NameField(name, NID_organizationalUnitName) != std::string(kCaUnit) ||
      X509_check_ca(ca.get()) != 1 ||
      !CheckName("federation", info.federation).ok()) {
    return absl::InvalidArgumentError(
        "not the certificate of a FedGraft CA (made by pki init)");
  }
  FG_ASSIGN_OR_RETURN(info.public_key, internal::Ed25519PublicKey(
                                           X509_get0_pubkey(ca.get()), "CA"));
  std::tm parts{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(ca.get()), &parts) != 1) {
    return absl::InvalidArgumentError("the CA's date of validity is damaged");
  }
  info.not_after = absl::FromTM(parts, absl::UTCTimeZone());
  return info;
}

absl::StatusOr<std::string> IssueCertificate(const CertificateSpec& spec,
                                             const SigningKey& ca_key,
                                             std::string_view ca_pem) {
  FG_RETURN_IF_ERROR(CheckSpec(spec));
  FG_ASSIGN_OR_RETURN(const CaInfo ca_info, ParseCaCertificate(ca_pem));
  FG_ASSIGN_OR_RETURN(const X509Ptr ca, internal::ReadCertificate(ca_pem));
  const PkeyPtr subject_key = internal::PublicKey(spec.public_key);
  const X509Ptr leaf = Start(subject_key.get(), spec.not_before,
                             std::min(spec.not_after, ca_info.not_after));
  X509_NAME* name = X509_get_subject_name(leaf.get());
  internal::AddNameEntry(name, "O", spec.federation);
  internal::AddNameEntry(name, "OU", RoleName(spec.role));
  internal::AddNameEntry(name, "CN", spec.id);
  FG_CHECK(X509_set_issuer_name(leaf.get(), X509_get_subject_name(ca.get())) ==
           1);
  AddExtension(leaf.get(), ca.get(), NID_basic_constraints,
               "critical,CA:FALSE");
  AddExtension(leaf.get(), ca.get(), NID_key_usage,
               "critical,digitalSignature");
  AddExtension(leaf.get(), ca.get(), NID_ext_key_usage,
               spec.role == CertificateRole::kAggregator
                   ? "serverAuth,clientAuth"
                   : "clientAuth");
  AddExtension(leaf.get(), ca.get(), NID_subject_alt_name,
               AlternativeNames(spec));
  AddExtension(leaf.get(), ca.get(), NID_subject_key_identifier, "hash");
  AddExtension(leaf.get(), ca.get(), NID_authority_key_identifier,
               "keyid:always");
  return Sign(leaf.get(), internal::PrivateKey(ca_key).get());
}

}  // namespace fedgraft
