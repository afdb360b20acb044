#include "absl/strings/str_cat.h"
#include "common/crypto/sha256.h"
#include "common/net/x509.h"

// What people are told about credentials: DiagnoseCredentials, WarnOfExpiry
// and KeyFingerprint of x509.h.

namespace fedgraft {
namespace {

constexpr absl::string_view kRenew =
    "; renew it: run fedgraft-client enroll, have the request approved by the "
    "centre and install the new certificate";

std::string Owner(const CertificateInfo& info) {
  const std::string_view role = RoleName(info.role);
  return absl::StrCat("the certificate of ",
                      absl::string_view(role.data(), role.size()), " ",
                      info.id);
}

}  // namespace

std::string DiagnoseCredentials(std::string_view certificate_pem,
                                std::string_view key_pem,
                                std::string_view ca_pem, absl::Time now) {
  if (certificate_pem.empty()) {
    return "there is no certificate yet: run fedgraft-client enroll and have "
           "the request approved by the centre";
  }
  const auto info = ParseCertificate(certificate_pem);
  if (!info.ok()) return std::string(info.status().message());
  const auto key = SigningKey::FromPem(key_pem);
  if (!key.ok()) {
    return absl::StrCat("private key: ", key.status().message());
  }
  if (key->PublicKey() != info->public_key) {
    return absl::StrCat(
        Owner(*info),
        " does not belong to the private key beside it (key fingerprints ",
        KeyFingerprint(info->public_key), " and ",
        KeyFingerprint(key->PublicKey()), ")");
  }
  const absl::Status status =
      VerifyCertificate(certificate_pem, ca_pem, now, CertificateUse::kClient);
  if (status.ok()) return "";
  return absl::StrCat(Owner(*info), ": ", status.message(),
                      now > info->not_after ? kRenew : "");
}

std::optional<ExpiryWarning> WarnOfExpiry(const CertificateInfo& info,
                                          absl::Time now) {
  const absl::Duration left = info.not_after - now;
  const std::string date = absl::FormatTime(
      "%Y-%m-%d %H:%M UTC", info.not_after, absl::UTCTimeZone());
  if (left < absl::ZeroDuration()) {
    return ExpiryWarning{
        0, absl::StrCat(Owner(info), " expired on ", date, kRenew)};
  }
  for (int days : {1, 7, 30}) {
    if (left > absl::Hours(24 * days)) continue;
    const int64_t hours = absl::ToInt64Hours(left);
    return ExpiryWarning{
        days, absl::StrCat(Owner(info), " expires on ", date, ", in ",
                           hours < 48 ? absl::StrCat(hours, " hours")
                                      : absl::StrCat(hours / 24, " days"),
                           kRenew)};
  }
  return std::nullopt;
}

std::string KeyFingerprint(ByteSpan public_key) {
  const std::string hex = Sha256(public_key).Hex();
  std::string text;
  for (size_t i = 0; i < hex.size(); i += 4) {
    absl::StrAppend(&text, i == 0 ? "" : " ", hex.substr(i, 4));
  }
  return text;
}

}  // namespace fedgraft
