#include "aggregator/round/upload_desk.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/round/arrival_check.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/config/rule_facts.h"

namespace fedgraft {
namespace {

// Refusals for what is in an update (not for when or how it came): a site that
// keeps sending such is not asked for ever.
bool IsContentRefusal(const absl::Status& status) {
  switch (RefusalOf(status).value_or(RefusalReason::kStorage)) {
    case RefusalReason::kBadSignature:
    case RefusalReason::kBadSeal:
    case RefusalReason::kBadLayout:
    case RefusalReason::kBadWeight:
    case RefusalReason::kOverNorm:
      return true;
    default:
      return false;
  }
}

// The spool's own errors as what a site understands.
absl::Status SpoolRefusal(const absl::Status& status) {
  const std::string message(status.message());
  switch (status.code()) {
    case absl::StatusCode::kDataLoss:
      return RefusalError(RefusalReason::kBadDigest, message);
    case absl::StatusCode::kResourceExhausted:
      return RefusalError(RefusalReason::kStorage, message);
    default:
      return status;
  }
}

}  // namespace

// An upload between its last byte and its receipt.
struct UploadDesk::Candidate {
  SitePeer site;
  UploadHeader header;
  SpooledUpdate spooled;
  std::shared_ptr<const SealedStreamOpener> opener;
  Reply<UploadReceipt> reply;
};

absl::Status UploadDesk::Check(const SitePeer& site,
                               const UploadHeader& header) {
  context_.sites.Heard(site.id);
  absl::Status refusal = context_.journal->failure();
  if (refusal.ok()) {
    refusal =
        CheckHeader(context_.state, context_.tools.form(header.kind), site.id,
                    header, context_.options.upload_size_bytes_max);
  }
  if (refusal.ok() && context_.run_ending) {
    refusal = RefusalError(RefusalReason::kUnknownRun, "the run is ending");
  }
  if (refusal.ok() && context_.closing) {
    refusal = RefusalError(RefusalReason::kWrongRound,
                           absl::StrCat("round ", header.round.value,
                                        " has closed with its quorum"));
  }
  return refusal.ok() ? refusal : context_.Refused(site.id, refusal);
}

void UploadDesk::Query(const SitePeer& site, const UploadHeader& header,
                       Reply<UploadOffset> reply) {
  if (auto receipt = context_.state.FindReceipt(site.id, header)) {
    context_.sites.Heard(site.id);
    reply(UploadOffset{header.size_bytes, *receipt});
    return;
  }
  if (const absl::Status refusal = Check(site, header); !refusal.ok()) {
    reply(refusal);
    return;
  }
  context_.off_strand.Run<absl::StatusOr<uint64_t>>(
      [spool = context_.spool, key = SpoolKey::Of(site.id, header)] {
        return spool->Offset(key);
      },
      [reply = std::move(reply)](absl::StatusOr<uint64_t> offset) {
        if (offset.ok()) {
          reply(UploadOffset{*offset, std::nullopt});
        } else {
          reply(SpoolRefusal(offset.status()));
        }
      });
}

void UploadDesk::Begin(const SitePeer& site, const UploadHeader& header,
                       uint64_t offset,
                       Reply<std::shared_ptr<SpoolUpload>> reply) {
  absl::Status refusal = Check(site, header);
  if (refusal.ok() && context_.admitting.contains(site.id)) {
    refusal =
        absl::UnavailableError("an update of this site is being verified");
  }
  if (!refusal.ok()) {
    reply(refusal);
    return;
  }
  const SpoolKey key = SpoolKey::Of(site.id, header);
  // The way over the executor costs more than the beginning of a small upload.
  if (context_.spool->BeginsInMemory(key)) {
    Begun(site, header, context_.spool->Begin(key, offset), reply);
    return;
  }
  auto observer =
      std::make_shared<ArrivalCheck>(ToVerify(site, header), FindSum(header));
  context_.off_strand.Run<absl::StatusOr<std::shared_ptr<SpoolUpload>>>(
      [spool = context_.spool, key, offset, observer = std::move(observer)] {
        return spool->Begin(key, offset, observer);
      },
      [this, site, header, reply = std::move(reply)](
          absl::StatusOr<std::shared_ptr<SpoolUpload>> upload) {
        Begun(site, header, std::move(upload), reply);
      });
}

void UploadDesk::Begun(const SitePeer& site, const UploadHeader& header,
                       absl::StatusOr<std::shared_ptr<SpoolUpload>> upload,
                       const Reply<std::shared_ptr<SpoolUpload>>& reply) {
  if (!upload.ok()) {
    reply(SpoolRefusal(upload.status()));
    return;
  }
  const SpoolKey key = SpoolKey::Of(site.id, header);
  // The round may have closed meanwhile.
  if (const absl::Status late = Check(site, header); !late.ok()) {
    Forget(key);
    reply(late);
    return;
  }
  unfinished_.insert_or_assign(site.id, key);
  reply(*std::move(upload));
  context_.changed();
}

UpdateToVerify UploadDesk::ToVerify(const SitePeer& site,
                                    const UploadHeader& header) const {
  return {site, header, context_.state.shared_run(),
          context_.tools.form(header.kind), context_.tools.key};
}

std::shared_ptr<RunningSum> UploadDesk::FindSum(const UploadHeader& header) {
  const UpdateForm& form = context_.tools.form(header.kind);
  const RuleSpec& rule = context_.state.run()->plan.rule;
  if (header.kind != TaskKind::kTrain || IsRobustRule(rule) ||
      form.extra_words > 0 || !RunningSum::Keeps(form.ring)) {
    return nullptr;
  }
  if (context_.sum == nullptr) {
    context_.sum = std::make_shared<RunningSum>(form.ring, form.count);
  }
  return context_.sum;
}

void UploadDesk::Moved(const SitePeer& site, uint64_t bytes) {
  context_.sites.Heard(site.id).bytes_received += bytes;
  context_.changed();
}

void UploadDesk::Finish(const SitePeer& site, const UploadHeader& header,
                        std::shared_ptr<SpoolUpload> upload,
                        Reply<UploadReceipt> reply) {
  if (auto receipt = context_.state.FindReceipt(site.id, header)) {
    reply(*receipt);
    return;
  }
  absl::Status refusal = Check(site, header);
  if (refusal.ok() && upload == nullptr) {
    refusal = absl::InvalidArgumentError("the upload was never begun");
  }
  if (refusal.ok() && !context_.admitting.insert(site.id).second) {
    refusal =
        absl::UnavailableError("an update of this site is being verified");
  }
  if (!refusal.ok()) {
    reply(refusal);
    return;
  }
  auto candidate = std::make_shared<Candidate>();
  candidate->site = site;
  candidate->header = header;
  candidate->reply = std::move(reply);
  UpdateToVerify update = ToVerify(site, header);
  // The check of a small update takes less time than the sync of another's.
  const bool soon =
      header.size_bytes <= context_.options.upload_inline_bytes_max;
  if (soon) context_.journal->Expect();
  context_.off_strand.Run<absl::Status>(
      [candidate, upload = std::move(upload), update = std::move(update)] {
        absl::Status verified;
        const auto verify = [&](const SpooledUpdate& bytes,
                                ArrivalObserver* seen) {
          // Every observer of an upload was made in Begin.
          auto opener = VerifyUpdate(update, bytes.sealed,
                                     static_cast<ArrivalCheck*>(seen));
          if (opener.ok()) candidate->opener = *std::move(opener);
          return verified = opener.status();
        };
        absl::StatusOr<SpooledUpdate> spooled = upload->Finish(verify);
        if (absl::IsUnavailable(spooled.status())) return spooled.status();
        if (!verified.ok()) return verified;
        if (!spooled.ok()) return SpoolRefusal(spooled.status());
        candidate->spooled = *std::move(spooled);
        return absl::OkStatus();
      },
      [this, candidate, soon](absl::Status verified) {
        Verified(candidate, verified);
        if (soon) context_.journal->Settle();
      });
  context_.changed();
}

void UploadDesk::Verified(std::shared_ptr<Candidate> candidate,
                          absl::Status verified) {
  const SiteId& site = candidate->site.id;
  // Between hand-in and now the run may have been stopped or the site revoked.
  // Not whether the phase is closing: it waits for those it let in.
  if (verified.ok() && context_.run_ending) {
    verified = RefusalError(RefusalReason::kUnknownRun, "the run is ending");
  }
  if (verified.ok() && revoked_.contains(site)) {
    verified = RefusalError(RefusalReason::kNotAllowed,
                            "the site's certificate was revoked");
  }
  if (verified.ok()) {
    verified = CheckHeader(
        context_.state, context_.tools.form(candidate->header.kind), site,
        candidate->header, context_.options.upload_size_bytes_max);
  }
  if (!verified.ok()) {
    Reject(candidate, verified);
    return;
  }
  ContributionAccepted record;
  record.site = site;
  record.header = candidate->header;
  if (candidate->spooled.sealed_inline != nullptr) {
    record.sealed_inline = *candidate->spooled.sealed_inline;
  } else {
    record.spool_file = candidate->spooled.spool_file;
  }
  context_.journal->Append(
      std::move(record), [this, candidate](absl::StatusOr<uint64_t> sequence) {
        Journalled(candidate, std::move(sequence));
      });
}

void UploadDesk::Journalled(std::shared_ptr<Candidate> candidate,
                            absl::StatusOr<uint64_t> sequence) {
  if (!sequence.ok()) {
    Reject(candidate, sequence.status());
    return;
  }
  const SiteId& site = candidate->site.id;
  const UploadHeader& header = candidate->header;
  context_.admitting.erase(site);
  revoked_.erase(site);
  unfinished_.erase(site);
  context_.spool->Release(SpoolKey::Of(site, header));
  context_.openers[site] = std::move(candidate->opener);
  FG_LOG_INFO(
      "run {} round {}: {} update of site {} accepted, {} bytes, "
      "record {}",
      header.run.value, header.round.value, TaskKindName(header.kind),
      site.value, header.size_bytes, *sequence);
  candidate->reply(UploadReceipt{header.sealed_digest, *sequence});
  context_.consider();
  context_.changed();
}

void UploadDesk::Reject(std::shared_ptr<Candidate> candidate,
                        const absl::Status& status) {
  // After a failed log nobody knows whether the record is there: the file has
  // to stay for the restart.
  if (!context_.journal->failure().ok()) return Rejected(*candidate, status);
  // The bytes go before the site may send others under the same name.
  context_.off_strand.Run<Done>(
      [spool = context_.spool,
       key = SpoolKey::Of(candidate->site.id, candidate->header),
       file = candidate->spooled.spool_file] {
        spool->Discard(key);
        if (!file.empty()) (void)spool->Remove(file);  // if not: an orphan
        return Done{};
      },
      [this, candidate, status](Done) { Rejected(*candidate, status); });
}

void UploadDesk::Rejected(const Candidate& candidate,
                          const absl::Status& status) {
  const SiteId& site = candidate.site.id;
  context_.admitting.erase(site);
  revoked_.erase(site);
  unfinished_.erase(site);
  if (IsContentRefusal(status)) {
    if (LiveSite* live = context_.sites.Find(site)) ++live->attempts_refused;
  }
  candidate.reply(context_.Refused(site, status));
  // The site may be asked again, or be the last that the phase waited for.
  context_.consider();
  context_.answer_polls();
  context_.changed();
}

void UploadDesk::Forget(const SpoolKey& key) {
  context_.ports.executor.Run(
      [spool = context_.spool, key] { spool->Discard(key); });
}

void UploadDesk::Abandon(const SitePeer& site, const UploadHeader&,
                         const std::shared_ptr<SpoolUpload>&) {
  // The spool keeps what arrived; the site's silence is the time-out's affair.
  if (context_.sites.Find(site.id) != nullptr) context_.changed();
}

void UploadDesk::DropStale() {
  for (auto it = unfinished_.begin(); it != unfinished_.end();) {
    const SpoolKey& key = it->second;
    const bool current = context_.state.open() &&
                         key.run == context_.state.run()->id &&
                         key.round == context_.state.round() &&
                         key.kind == context_.state.task_kind();
    if (!current) Forget(key);
    it = current ? std::next(it) : unfinished_.erase(it);
  }
}

void UploadDesk::Drop(const SiteId& site) {
  if (context_.admitting.contains(site)) {
    revoked_.insert(site);
    return;
  }
  const auto found = unfinished_.find(site);
  if (found == unfinished_.end()) return;
  Forget(found->second);
  unfinished_.erase(found);
}

}  // namespace fedgraft
