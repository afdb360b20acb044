#include "client/secagg/secure_site.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/secagg/consistency.h"
#include "client/secagg/unmask.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

absl::Status Another(absl::string_view what) {
  return absl::PermissionDeniedError(
      absl::StrCat("another ", std::string(what),
                   " than this site accepted in this session"));
}

absl::Status Early(absl::string_view step) {
  return absl::FailedPreconditionError(absl::StrCat(
      "this session has not come to ", std::string(step), " at this site"));
}

}  // namespace

absl::Status SecureSite::Load() {
  if (file_.has_value()) return absl::OkStatus();
  FG_ASSIGN_OR_RETURN(released_, ReleasedCohorts::Load(files_));
  auto file = DurableRecord::Open(files_, kRecordPath);
  if (absl::IsDataLoss(file.status())) {
    // Without it this site is as if it had dropped out of that session.
    FG_LOG_WARNING("{}", file.status().ToString());
    FG_RETURN_IF_ERROR(DurableRecord::Remove(files_, kRecordPath));
    file = DurableRecord::Open(files_, kRecordPath);
  }
  FG_RETURN_IF_ERROR(file.status());
  file_ = *std::move(file);
  Restore();
  return absl::OkStatus();
}

void SecureSite::Restore() {
  record_.reset();
  shared_.reset();
  if (file_->content().empty()) return;
  auto record = DecodeSiteRecord(file_->content());
  if (!record.ok()) FG_LOG_WARNING("{}", record.status().ToString());
  if (record.ok()) record_ = *std::move(record);
}

absl::Status SecureSite::Save() {
  const absl::Status saved = file_->Write(EncodeSiteRecord(*record_).span());
  if (!saved.ok()) Restore();
  return saved;
}

absl::Status SecureSite::CheckCurrent(const SecureSession& session) {
  FG_RETURN_IF_ERROR(Load());
  if (record_.has_value() && record_->session == session.Id()) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "round ", session.round.value, ", attempt ", session.attempt,
      ": this site has no keys for this session of secure aggregation"));
}

absl::StatusOr<Bytes> SecureSite::Advertise(const SecureParty& party,
                                            const SecureSession& session) {
  FG_RETURN_IF_ERROR(Load());
  const Digest id = session.Id();
  if (!record_.has_value() || record_->session != id) {
    SecureSiteRecord next;
    next.session = id;
    next.root = SecretBytes(kSecureSecretBytes);
    random_.Fill(next.root.mutable_span());
    record_ = std::move(next);
    shared_.reset();
    FG_RETURN_IF_ERROR(Save());
  }
  FG_ASSIGN_OR_RETURN(const SiteSecrets secrets,
                      SiteSecrets::Derive(id, record_->root.span()));
  return EncodeKeys(party.site, AdvertiseKeys::Answer(party, id, secrets));
}

absl::Status SecureSite::MakeShared(const SecureParty& party,
                                    const SiteSecrets& secrets) {
  if (shared_.has_value()) return absl::OkStatus();
  FG_ASSIGN_OR_RETURN(shared_,
                      ShareKeys::Accept(party, record_->session, secrets,
                                        record_->root.span(), record_->keys));
  return absl::OkStatus();
}

absl::StatusOr<Bytes> SecureSite::Share(const SecureParty& party,
                                        const SecureSession& session,
                                        ByteSpan request) {
  FG_RETURN_IF_ERROR(CheckCurrent(session));
  FG_ASSIGN_OR_RETURN(KeyList keys, DecodeKeyList(request));
  if (!record_->keys.empty() &&
      EncodeKeyList(record_->keys) != EncodeKeyList(keys)) {
    return Another("list of keys");
  }
  FG_ASSIGN_OR_RETURN(
      const SiteSecrets secrets,
      SiteSecrets::Derive(record_->session, record_->root.span()));
  FG_ASSIGN_OR_RETURN(const ShareKeys step,
                      ShareKeys::Accept(party, record_->session, secrets,
                                        record_->root.span(), std::move(keys)));
  if (record_->keys.empty()) {
    record_->keys = step.keys();
    FG_RETURN_IF_ERROR(Save());
  }
  return EncodeSealedShares(step.message());
}

absl::StatusOr<MaskedInput> SecureSite::Mask(const SecureParty& party,
                                             const SecureSession& session,
                                             ByteSpan request,
                                             absl::string_view statistic) {
  FG_RETURN_IF_ERROR(CheckCurrent(session));
  if (record_->keys.empty()) return Early("sharing keys");
  FG_ASSIGN_OR_RETURN(std::vector<SiteId> sharers, DecodeSites(request));
  if (!record_->sharers.empty() && record_->sharers != sharers) {
    return Another("set of sharers");
  }
  FG_ASSIGN_OR_RETURN(
      const SiteSecrets secrets,
      SiteSecrets::Derive(record_->session, record_->root.span()));
  FG_ASSIGN_OR_RETURN(
      MaskedInput step,
      MaskedInput::Accept(party,
                          SecureTranscript::Of(record_->session, record_->keys),
                          secrets, record_->keys, sharers));
  if (record_->sharers.empty()) {
    record_->sharers = std::move(sharers);
    record_->statistic = std::string(statistic);
    FG_RETURN_IF_ERROR(Save());
  }
  return step;
}

absl::Status SecureSite::FixSurvivors(const SecureParty& party,
                                      const std::vector<SiteId>& survivors) {
  if (!record_->survivors.empty()) {
    return record_->survivors == survivors ? absl::OkStatus()
                                           : Another("set of survivors");
  }
  FG_RETURN_IF_ERROR(CheckCohort(party, record_->keys, record_->sharers,
                                 survivors, "survivors"));
  FG_RETURN_IF_ERROR(
      released_->Check(record_->statistic, survivors, party.rules.cohort_min));
  record_->survivors = survivors;
  return Save();
}

absl::StatusOr<Bytes> SecureSite::Agree(const SecureParty& party,
                                        const SecureSession& session,
                                        ByteSpan request) {
  FG_RETURN_IF_ERROR(CheckCurrent(session));
  if (record_->sharers.empty()) return Early("masking");
  FG_ASSIGN_OR_RETURN(const std::vector<SiteId> survivors,
                      DecodeSites(request));
  FG_ASSIGN_OR_RETURN(
      Bytes signature,
      Consistency::Sign(party,
                        SecureTranscript::Of(record_->session, record_->keys),
                        record_->keys, record_->sharers, survivors));
  FG_RETURN_IF_ERROR(FixSurvivors(party, survivors));
  return signature;
}

absl::StatusOr<Bytes> SecureSite::Release(const SecureParty& party,
                                          const SecureSession& session,
                                          ByteSpan request) {
  FG_RETURN_IF_ERROR(CheckCurrent(session));
  if (record_->sharers.empty()) return Early("masking");
  FG_ASSIGN_OR_RETURN(const SurvivorProof proof, DecodeSurvivorProof(request));
  FG_ASSIGN_OR_RETURN(
      const SiteSecrets secrets,
      SiteSecrets::Derive(record_->session, record_->root.span()));
  FG_RETURN_IF_ERROR(MakeShared(party, secrets));
  FG_RETURN_IF_ERROR(CheckCohort(party, record_->keys, record_->sharers,
                                 proof.survivors, "survivors"));
  FG_ASSIGN_OR_RETURN(
      const ReleasedShares released,
      Unmask::Release(party, secrets, *shared_, record_->sharers, proof));
  FG_RETURN_IF_ERROR(FixSurvivors(party, proof.survivors));
  FG_RETURN_IF_ERROR(
      released_->Add(record_->statistic, proof.survivors, session.run));
  return EncodeReleasedShares(released);
}

}  // namespace fedgraft
