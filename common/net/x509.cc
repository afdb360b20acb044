#include "common/net/x509.h"

#include <ctime>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/net/openssl_x509.h"

namespace fedgraft {
namespace {

using internal::X509Ptr;

using GeneralNamesPtr =
    std::unique_ptr<GENERAL_NAMES, internal::Free<GENERAL_NAMES_free>>;
using StorePtr = std::unique_ptr<X509_STORE, internal::Free<X509_STORE_free>>;
using StoreCtxPtr =
    std::unique_ptr<X509_STORE_CTX, internal::Free<X509_STORE_CTX_free>>;
using BignumPtr = std::unique_ptr<BIGNUM, internal::Free<BN_free>>;

constexpr absl::string_view kScheme = "fedgraft://";

absl::string_view View(std::string_view text) {
  return {text.data(), text.size()};
}

std::string DateText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M UTC", time, absl::UTCTimeZone());
}

absl::StatusOr<absl::Time> ToTime(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) {
    TakeOpenSslError();
    return absl::InvalidArgumentError(
        "the certificate has an unreadable date of validity");
  }
  return absl::FromTM(parts, absl::UTCTimeZone());
}

std::string SerialHex(X509* certificate) {
  const BignumPtr number(
      ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  FG_CHECK(number != nullptr);
  char* hex = BN_bn2hex(number.get());
  FG_CHECK(hex != nullptr);
  std::string text = absl::AsciiStrToLower(hex);
  OPENSSL_free(hex);
  return text;
}

// Fills role, federation and id from "fedgraft://<federation>/<role>/<id>".
absl::Status ParseIdentityUri(std::string_view uri, CertificateInfo& info) {
  const auto refuse = [&uri] {
    return absl::InvalidArgumentError(absl::StrCat(
        "the certificate's name \"", absl::CHexEscape(View(uri)),
        "\" is not fedgraft://<federation>/{site|aggregator|operator}/<id>"));
  };
  const std::vector<std::string> parts =
      absl::StrSplit(View(uri).substr(kScheme.size()), '/');
  if (parts.size() != 3 || !CheckName("federation", parts[0]).ok() ||
      !CheckName("id", parts[2]).ok()) {
    return refuse();
  }
  info.federation = parts[0];
  info.id = parts[2];
  for (CertificateRole role :
       {CertificateRole::kSite, CertificateRole::kAggregator,
        CertificateRole::kOperator}) {
    if (parts[1] == RoleName(role)) {
      info.role = role;
      return absl::OkStatus();
    }
  }
  return refuse();
}

absl::Status ReadIdentity(X509* certificate, CertificateInfo& info) {
  const GeneralNamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  int found = 0;
  const int count = names == nullptr ? 0 : sk_GENERAL_NAME_num(names.get());
  for (int i = 0; i < count; ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const ASN1_IA5STRING* text = name->d.uniformResourceIdentifier;
    const std::string_view uri(
        reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
        static_cast<size_t>(ASN1_STRING_length(text)));
    if (uri.substr(0, kScheme.size()) !=
        std::string_view(kScheme.data(), kScheme.size())) {
      continue;
    }
    if (++found > 1) {
      return absl::InvalidArgumentError(
          "the certificate has more than one FedGraft name");
    }
    FG_RETURN_IF_ERROR(ParseIdentityUri(uri, info));
  }
  if (found == 0) {
    return absl::InvalidArgumentError(
        "the certificate has no FedGraft name (a subject alternative name "
        "fedgraft://<federation>/<role>/<id>): it was not issued by "
        "fedgraft-aggregator pki");
  }
  return absl::OkStatus();
}

absl::StatusOr<CertificateInfo> InfoOf(X509* certificate) {
  CertificateInfo info;
  FG_ASSIGN_OR_RETURN(
      info.public_key,
      internal::Ed25519PublicKey(X509_get0_pubkey(certificate), "certificate"));
  FG_RETURN_IF_ERROR(ReadIdentity(certificate, info));
  FG_ASSIGN_OR_RETURN(info.not_before,
                      ToTime(X509_get0_notBefore(certificate)));
  FG_ASSIGN_OR_RETURN(info.not_after, ToTime(X509_get0_notAfter(certificate)));
  info.serial = SerialHex(certificate);
  return info;
}

std::string IssuerName(X509* certificate) {
  char text[256];
  const int size = X509_NAME_get_text_by_NID(
      X509_get_issuer_name(certificate), NID_commonName, text, sizeof(text));
  return size < 0 ? "an unnamed issuer"
                  : absl::StrCat("\"", absl::CHexEscape(text), "\"");
}

// Why OpenSSL does not accept the chain, in words for the person who can help.
absl::Status ChainError(X509_STORE_CTX* ctx, X509* leaf,
                        const CertificateInfo& info) {
  const int error = X509_STORE_CTX_get_error(ctx);
  const bool about_ca = X509_STORE_CTX_get_error_depth(ctx) > 0;
  TakeOpenSslError();
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      if (about_ca) {
        return absl::PermissionDeniedError(
            "the certificate of the CA itself has expired");
      }
      return absl::PermissionDeniedError(absl::StrCat(
          "the certificate expired on ", DateText(info.not_after)));
    case X509_V_ERR_CERT_NOT_YET_VALID:
      if (about_ca) {
        return absl::PermissionDeniedError(
            "the certificate of the CA itself is not valid yet; is this "
            "machine's clock right?");
      }
      return absl::PermissionDeniedError(absl::StrCat(
          "the certificate is not valid yet (valid from ",
          DateText(info.not_before), "); is this machine's clock right?"));
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return absl::PermissionDeniedError(
          absl::StrCat("the certificate was issued by another CA (",
                       IssuerName(leaf), ") than the one given"));
    default:
      return absl::PermissionDeniedError(
          absl::StrCat("the certificate is not acceptable: ",
                       X509_verify_cert_error_string(error)));
  }
}

}  // namespace

std::string_view RoleName(CertificateRole role) {
  switch (role) {
    case CertificateRole::kSite:
      return "site";
    case CertificateRole::kAggregator:
      return "aggregator";
    case CertificateRole::kOperator:
      return "operator";
  }
  return "unknown";
}

absl::Status CheckName(std::string_view what, std::string_view name) {
  if (SiteId::Parse(name).ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      View(what), " name \"", absl::CHexEscape(View(name)),
      "\" is not 1 to 63 of a-z, 0-9, '-', '_', starting with a letter or "
      "digit"));
}

std::string IdentityUri(std::string_view federation, CertificateRole role,
                        std::string_view id) {
  return absl::StrCat(kScheme, View(federation), "/", View(RoleName(role)), "/",
                      View(id));
}

absl::StatusOr<CertificateInfo> ParseCertificate(std::string_view pem) {
  FG_ASSIGN_OR_RETURN(const X509Ptr certificate,
                      internal::ReadCertificate(pem));
  return InfoOf(certificate.get());
}

absl::Status VerifyCertificate(std::string_view leaf_pem,
                               std::string_view ca_pem, absl::Time now,
                               CertificateUse use) {
  FG_ASSIGN_OR_RETURN(const X509Ptr leaf, internal::ReadCertificate(leaf_pem));
  FG_ASSIGN_OR_RETURN(const CertificateInfo info, InfoOf(leaf.get()));
  auto ca = internal::ReadCertificate(ca_pem);
  if (!ca.ok()) return Annotate(ca.status(), "CA");

  const StorePtr store(X509_STORE_new());
  const StoreCtxPtr ctx(X509_STORE_CTX_new());
  FG_CHECK(store != nullptr && ctx != nullptr);
  FG_CHECK(X509_STORE_add_cert(store.get(), ca->get()) == 1);
  FG_CHECK(X509_STORE_CTX_init(ctx.get(), store.get(), leaf.get(), nullptr) ==
           1);
  const bool client = use == CertificateUse::kClient;
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(ctx.get());
  X509_VERIFY_PARAM_set_time(param, absl::ToTimeT(now));
  FG_CHECK(X509_VERIFY_PARAM_set_purpose(
               param, client ? X509_PURPOSE_SSL_CLIENT
                             : X509_PURPOSE_SSL_SERVER) == 1);
  // OpenSSL takes a missing list of uses for "any"; FedGraft does not. Asked
  // first, so that the message names the use.
  const uint32_t uses = X509_get_extended_key_usage(leaf.get());
  const uint32_t wanted = client ? XKU_SSL_CLIENT : XKU_SSL_SERVER;
  if (X509_verify_cert(ctx.get()) != 1) {
    if (X509_STORE_CTX_get_error(ctx.get()) != X509_V_ERR_INVALID_PURPOSE) {
      return ChainError(ctx.get(), leaf.get(), info);
    }
  } else if (uses != UINT32_MAX && (uses & wanted) != 0) {
    return absl::OkStatus();
  }
  TakeOpenSslError();
  return absl::PermissionDeniedError(absl::StrCat(
      "the certificate of ", View(RoleName(info.role)), " ", info.id,
      " is not for use as a TLS ", client ? "client" : "server",
      ", or its issuer is not a CA"));
}

absl::Status CheckRole(const CertificateInfo& info, CertificateRole role,
                       std::string_view federation) {
  if (info.federation != federation) {
    return absl::PermissionDeniedError(
        absl::StrCat("the certificate is of federation \"", info.federation,
                     "\"; this is federation \"", View(federation), "\""));
  }
  if (info.role != role) {
    return absl::PermissionDeniedError(
        absl::StrCat("the certificate's role is ", View(RoleName(info.role)),
                     " (", info.id, "); expected ", View(RoleName(role))));
  }
  return absl::OkStatus();
}

absl::Status CheckValidity(const CertificateInfo& info, absl::Time now) {
  if (now > info.not_after) {
    return absl::PermissionDeniedError(
        absl::StrCat("the certificate expired on ", DateText(info.not_after)));
  }
  if (now < info.not_before) {
    return absl::PermissionDeniedError(
        absl::StrCat("the certificate is not valid yet (valid from ",
                     DateText(info.not_before), ")"));
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
