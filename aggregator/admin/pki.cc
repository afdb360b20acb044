#include "aggregator/admin/pki.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "aggregator/admin/pki_issue.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr int kDaysMax = 36500;
// Hospitals' clocks differ a little: certificates begin in the past.
constexpr absl::Duration kBackdated = absl::Hours(1);
// The aggregator is named by its role; hosts are alternative names.
constexpr std::string_view kAggregatorId = "aggregator";

absl::Status CheckDays(int days) {
  if (days >= 1 && days <= kDaysMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("a validity of ", days, " days; expected 1 to ", kDaysMax));
}

std::string PathIn(std::string_view folder, std::string_view name,
                   absl::string_view suffix) {
  return absl::StrCat(absl::string_view(folder.data(), folder.size()), "/",
                      absl::string_view(name.data(), name.size()), suffix);
}

absl::StatusOr<SigningKey> LoadKey(FileStore& files, std::string_view path) {
  FG_ASSIGN_OR_RETURN(const auto file, files.OpenRead(path));
  if (file->size_bytes() > kPemBytesMax) {
    return absl::InvalidArgumentError("the private key file is too large");
  }
  SecretBytes pem(file->size_bytes());
  FG_RETURN_IF_ERROR(file->ReadAt(0, pem.mutable_span()));
  auto key = SigningKey::FromPem(AsText(pem.span()));
  if (!key.ok()) return Annotate(key.status(), path);
  return key;
}

// A key that exists is kept: a renewal keeps the fingerprint.
absl::StatusOr<SigningKey> LoadOrMakeKey(FileStore& files,
                                         std::string_view path) {
  auto existing = LoadKey(files, path);
  if (!absl::IsNotFound(existing.status())) return existing;
  SigningKey key = SigningKey::Generate();
  FG_RETURN_IF_ERROR(WriteAtomically(files, path, key.ToPem().span()));
  return key;
}

void AddCertificate(const CertificateInfo& info, absl::Time now,
                    AllowListEntry& entry) {
  entry.id = info.id;
  entry.public_key = info.public_key;
  entry.active = true;
  entry.serials.push_back(info.serial);
  entry.not_before = info.not_before;
  entry.not_after = info.not_after;
  entry.approved = absl::FromUnixSeconds(absl::ToUnixSeconds(now));
  entry.revoked = absl::InfinitePast();
}

void RevokeEntry(absl::Time now, AllowListEntry& entry,
                 AllowListContent& content) {
  entry.active = false;
  entry.revoked = absl::FromUnixSeconds(absl::ToUnixSeconds(now));
  content.revoked_serials.insert(entry.serials.begin(), entry.serials.end());
}

// Whether this request may become a certificate, given what is known.
absl::Status CheckApproval(const AllowListContent& content, const CsrInfo& csr,
                           const ApproveRequest& request,
                           std::string_view federation) {
  if (csr.common_name != request.site.value ||
      (!csr.organisation.empty() && csr.organisation != federation)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the request is for \"", csr.common_name, "\" in federation \"",
        csr.organisation, "\"; expected site \"", request.site.value,
        "\" in federation \"",
        absl::string_view(federation.data(), federation.size()), "\""));
  }
  for (const auto* entries : {&content.sites, &content.operators}) {
    for (const auto& [id, entry] : *entries) {
      const bool own = entries == &content.sites && id == request.site.value;
      if (!own && entry.public_key == csr.public_key) {
        return absl::PermissionDeniedError(
            absl::StrCat("the key of the request is already in use by ", id,
                         "; every site makes its own key"));
      }
    }
  }
  const auto known = content.sites.find(request.site.value);
  if (known == content.sites.end() || request.replace) return absl::OkStatus();
  if (!known->second.active) {
    return absl::FailedPreconditionError(
        absl::StrCat("site ", request.site.value,
                     " was revoked; approve with replace to admit it again"));
  }
  if (known->second.public_key != csr.public_key) {
    return absl::FailedPreconditionError(absl::StrCat(
        "site ", request.site.value, " is known with the key ",
        KeyFingerprint(known->second.public_key), "; the request has ",
        KeyFingerprint(csr.public_key),
        ". If the site confirms that it made a new key, approve with replace"));
  }
  return absl::OkStatus();
}

}  // namespace

Pki::Pki(FileStore& files, const Clock& clock, std::string federation,
         SigningKey ca_key, std::string ca_pem)
    : files_(&files),
      clock_(&clock),
      federation_(std::move(federation)),
      ca_key_(std::move(ca_key)),
      ca_pem_(std::move(ca_pem)) {}

absl::StatusOr<Pki> Pki::Init(FileStore& files, const Clock& clock,
                              const PkiOptions& options) {
  FG_RETURN_IF_ERROR(CheckName("federation", options.federation));
  FG_RETURN_IF_ERROR(CheckName("operator", options.operator_name));
  FG_RETURN_IF_ERROR(CheckDays(options.ca_days));
  FG_RETURN_IF_ERROR(CheckDays(options.days));
  if (options.aggregator_names.empty()) {
    return absl::InvalidArgumentError(
        "the aggregator needs at least one DNS name or IP address");
  }
  for (const std::string& host : options.aggregator_names) {
    FG_RETURN_IF_ERROR(CheckHost(host));
  }
  for (std::string_view path : {kPkiCaKeyFile, kPkiCaFile, kAllowListFile}) {
    const absl::Status opened = files.OpenRead(path).status();
    if (opened.ok()) {
      return absl::AlreadyExistsError(absl::StrCat(
          "the PKI folder already has a ",
          absl::string_view(path.data(), path.size()),
          "; a CA is never overwritten (after an interrupted init, empty the "
          "folder)"));
    }
    if (!absl::IsNotFound(opened)) return opened;
  }
  SigningKey ca_key = SigningKey::Generate();
  const absl::Time now = clock.Wall();
  std::string ca_pem =
      MakeCaCertificate(ca_key, options.federation, now - kBackdated,
                        now + absl::Hours(24) * options.ca_days);
  FG_RETURN_IF_ERROR(
      WriteAtomically(files, kPkiCaKeyFile, ca_key.ToPem().span()));
  FG_RETURN_IF_ERROR(WriteAtomically(files, kPkiCaFile, AsBytes(ca_pem)));
  Pki pki(files, clock, options.federation, std::move(ca_key),
          std::move(ca_pem));
  FG_RETURN_IF_ERROR(
      pki.RenewAggregator(options.aggregator_names, options.days).status());
  AllowListContent content;
  content.federation = options.federation;
  FG_RETURN_IF_ERROR(pki.Store(content));
  FG_RETURN_IF_ERROR(
      pki.IssueOperator(options.operator_name, options.days).status());
  return pki;
}

absl::StatusOr<Pki> Pki::Open(FileStore& files, const Clock& clock) {
  auto ca_bytes = ReadAll(files, kPkiCaFile);
  if (absl::IsNotFound(ca_bytes.status())) {
    return absl::NotFoundError(
        "the PKI folder has no ca.pem: run fedgraft-aggregator pki init");
  }
  FG_RETURN_IF_ERROR(ca_bytes.status());
  std::string ca_pem(AsText(*ca_bytes));
  FG_ASSIGN_OR_RETURN(const CaInfo ca, ParseCaCertificate(ca_pem));
  FG_ASSIGN_OR_RETURN(SigningKey key, LoadKey(files, kPkiCaKeyFile));
  if (key.PublicKey() != ca.public_key) {
    return absl::FailedPreconditionError(
        "ca.key and ca.pem in the PKI folder do not belong together");
  }
  Pki pki(files, clock, ca.federation, std::move(key), std::move(ca_pem));
  FG_ASSIGN_OR_RETURN(const AllowListContent content, pki.List());
  if (content.federation != ca.federation) {
    return absl::FailedPreconditionError(
        absl::StrCat("sites.json is of federation \"", content.federation,
                     "\", the CA of \"", ca.federation, "\""));
  }
  return pki;
}

absl::StatusOr<AllowListContent> Pki::List() const {
  FG_ASSIGN_OR_RETURN(const Bytes bytes, ReadAll(*files_, kAllowListFile));
  return AllowListContent::FromJson(AsText(bytes));
}

// The allow-list first: it is what decides, the roster is derived from it.
absl::Status Pki::Store(const AllowListContent& content) {
  FG_RETURN_IF_ERROR(
      WriteAtomically(*files_, kAllowListFile, AsBytes(content.ToJson())));
  return WriteAtomically(*files_, kPkiRosterFile,
                         AsBytes(content.ToRoster().ToJson()));
}

absl::StatusOr<Issued> Pki::Issue(CertificateRole role, std::string_view id,
                                  Bytes public_key,
                                  std::vector<std::string> hosts, int days,
                                  std::string_view path) {
  FG_RETURN_IF_ERROR(CheckDays(days));
  const absl::Time now = clock_->Wall();
  Issued issued;
  FG_ASSIGN_OR_RETURN(
      issued.certificate_pem,
      IssueCertificate({.federation = federation_,
                        .role = role,
                        .id = std::string(id),
                        .public_key = std::move(public_key),
                        .hosts = std::move(hosts),
                        .not_before = now - kBackdated,
                        .not_after = now + absl::Hours(24) * days},
                       ca_key_, ca_pem_));
  FG_ASSIGN_OR_RETURN(issued.info, ParseCertificate(issued.certificate_pem));
  FG_RETURN_IF_ERROR(
      WriteAtomically(*files_, path, AsBytes(issued.certificate_pem)));
  return issued;
}

absl::StatusOr<Issued> Pki::Approve(const ApproveRequest& request) {
  FG_RETURN_IF_ERROR(SiteId::Parse(request.site.value).status());
  FG_ASSIGN_OR_RETURN(const CsrInfo csr, ParseCsr(request.csr_pem));
  FG_ASSIGN_OR_RETURN(AllowListContent content, List());
  FG_RETURN_IF_ERROR(CheckApproval(content, csr, request, federation_));
  FG_ASSIGN_OR_RETURN(
      Issued issued,
      Issue(CertificateRole::kSite, request.site.value, csr.public_key, {},
            request.days, PathIn(kPkiSitesFolder, request.site.value, ".pem")));
  AllowListEntry& entry = content.sites[request.site.value];
  // A replaced key's certificates stay refused even if that key comes back.
  if (!entry.serials.empty() && entry.public_key != csr.public_key) {
    RevokeEntry(clock_->Wall(), entry, content);
  }
  AddCertificate(issued.info, clock_->Wall(), entry);
  FG_RETURN_IF_ERROR(Store(content));
  return issued;
}

absl::StatusOr<Issued> Pki::IssueOperator(std::string_view name, int days) {
  FG_RETURN_IF_ERROR(CheckName("operator", name));
  FG_RETURN_IF_ERROR(CheckDays(days));
  FG_ASSIGN_OR_RETURN(AllowListContent content, List());
  AllowListEntry& entry = content.operators[std::string(name)];
  if (!entry.active) {
    return absl::FailedPreconditionError(
        absl::StrCat("operator ", entry.id,
                     " was revoked; choose another name for a new key"));
  }
  FG_ASSIGN_OR_RETURN(
      const SigningKey key,
      LoadOrMakeKey(*files_, PathIn(kPkiOperatorsFolder, name, ".key")));
  FG_ASSIGN_OR_RETURN(
      Issued issued,
      Issue(CertificateRole::kOperator, name, key.PublicKey(), {}, days,
            PathIn(kPkiOperatorsFolder, name, ".pem")));
  AddCertificate(issued.info, clock_->Wall(), entry);
  FG_RETURN_IF_ERROR(Store(content));
  return issued;
}

absl::StatusOr<Issued> Pki::RenewAggregator(
    const std::vector<std::string>& names, int days) {
  FG_RETURN_IF_ERROR(CheckDays(days));
  FG_ASSIGN_OR_RETURN(const SigningKey key,
                      LoadOrMakeKey(*files_, kPkiAggregatorKeyFile));
  return Issue(CertificateRole::kAggregator, kAggregatorId, key.PublicKey(),
               names, days, kPkiAggregatorFile);
}

absl::Status Pki::Revoke(std::string_view site_or_serial) {
  FG_ASSIGN_OR_RETURN(AllowListContent content, List());
  absl::string_view wanted(site_or_serial.data(), site_or_serial.size());
  const bool is_operator = absl::ConsumePrefix(&wanted, "operator/");
  const std::string name(wanted);
  AllowListEntry* owner = nullptr;
  auto& named = is_operator ? content.operators : content.sites;
  if (const auto at = named.find(name); at != named.end()) owner = &at->second;
  bool old_certificate = false;
  for (auto* entries : {&content.sites, &content.operators}) {
    for (auto& [id, entry] : *entries) {
      const auto& serials = entry.serials;
      if (owner != nullptr || is_operator ||
          std::find(serials.begin(), serials.end(), name) == serials.end()) {
        continue;
      }
      owner = &entry;
      old_certificate = serials.back() != name;
    }
  }
  if (owner == nullptr) {
    return absl::NotFoundError(absl::StrCat(
        "no site, operator/<name> or certificate serial \"",
        absl::string_view(site_or_serial.data(), site_or_serial.size()), "\""));
  }
  if (!owner->active || content.revoked_serials.contains(name)) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, " is revoked already"));
  }
  if (old_certificate) {
    content.revoked_serials.insert(name);
  } else {
    RevokeEntry(clock_->Wall(), *owner, content);
  }
  return Store(content);
}

}  // namespace fedgraft
