#include "client/train/shift_look.h"

#include <utility>

#include "client/shift/shift_test.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"

namespace fedgraft {
namespace {

// Two SHA-256, in this order: of the records that the newest complete look
// compared, and of what its last stage was asked with.
constexpr char kSeenFile[] = "shift_seen.bin";
constexpr size_t kDigestBytes = 32;

}  // namespace

absl::Status ShiftLook::Prepare() {
  if (start_.has_value()) return absl::OkStatus();
  FG_ASSIGN_OR_RETURN(Look start, Look::Create(plan_, learner_.layout()));
  start.sketch().projection();
  start_.emplace(std::move(start));
  return absl::OkStatus();
}

absl::StatusOr<LookRecords> ShiftLook::ReadRecords(
    const ActivationStore& store, bool with_outputs,
    const ProgressSink& progress) {
  return ReadLookRecords(store, learner_.network(), compute_,
                         start_->sketch().projection(), with_outputs, progress);
}

absl::StatusOr<std::string> ShiftLook::DigestOf(const ActivationStore& store,
                                                const ProgressSink& progress) {
  if (!records_digest_.empty()) return records_digest_;
  std::string digest;
  if (records_.has_value()) {
    digest = records_->Digest();
  } else {
    FG_ASSIGN_OR_RETURN(const LookRecords records,
                        ReadRecords(store, /*with_outputs=*/false, progress));
    digest = records.Digest();
  }
  if (HasFrozenFeatures(plan_)) records_digest_ = digest;
  return digest;
}

absl::StatusOr<ShiftLook::Seen> ShiftLook::ReadSeen() const {
  if (files_ == nullptr) return Seen();
  const auto content = ReadAll(*files_, kSeenFile);
  if (absl::IsNotFound(content.status())) return Seen();
  FG_RETURN_IF_ERROR(content.status());
  const std::string text(AsText(*content));
  if (text.size() != 2 * kDigestBytes) return Seen();
  return Seen{text.substr(0, kDigestBytes), text.substr(kDigestBytes)};
}

absl::Status ShiftLook::WriteSeen(const Seen& seen) {
  if (files_ == nullptr) return absl::OkStatus();
  const std::string content = seen.records + seen.look;
  FG_ASSIGN_OR_RETURN(const auto file,
                      files_->OpenOverwrite(kSeenFile, content.size()));
  return file->Append(AsBytes(content));
}

void ShiftLook::Drop() {
  look_.reset();
  site_.reset();
  records_.reset();
}

absl::Status ShiftLook::Follow(const ActivationStore& store, ByteSpan pooled,
                               const ApplyModel& apply_model,
                               const ProgressSink& progress) {
  FG_RETURN_IF_ERROR(Prepare());
  const ParameterLayout& layout = learner_.layout();
  bool follows = false;
  if (look_.has_value()) {
    FG_ASSIGN_OR_RETURN(follows, look_->Follow(pooled));
  }
  if (!follows) {
    Drop();
    FG_ASSIGN_OR_RETURN(Look look, Look::Decode(plan_, layout, pooled));
    look_.emplace(std::move(look));
  }
  if (look_->done()) {
    return absl::InvalidArgumentError("the look has no further stage");
  }
  // A look that begins may be of another model; later stages are of the same.
  if (look_->stages().empty() || !site_.has_value()) {
    site_.reset();
    FG_RETURN_IF_ERROR(apply_model());
    FG_ASSIGN_OR_RETURN(records_,
                        ReadRecords(store, /*with_outputs=*/true, progress));
    FG_ASSIGN_OR_RETURN(SiteSketch site,
                        SiteSketch::Create(start_->sketch(), records_->View()));
    site_.emplace(std::move(site));
  }
  if (!look_->asks_verdicts() || !site_->summary().empty()) {
    return absl::OkStatus();
  }
  // Begun anew after the summary, which the tests compare with.
  FG_ASSIGN_OR_RETURN(Look before, Look::Create(plan_, layout));
  for (size_t i = 0; i + 1 < look_->stages().size(); ++i) {
    FG_RETURN_IF_ERROR(before.Add(look_->stages()[i]));
  }
  return site_->Sums(before.sketch()).status();
}

absl::StatusOr<bool> ShiftLook::HasNews(const ActivationStore& store,
                                        std::string_view compared,
                                        const ProgressSink& progress) {
  FG_RETURN_IF_ERROR(Prepare());
  FG_ASSIGN_OR_RETURN(const Seen seen, ReadSeen());
  FG_ASSIGN_OR_RETURN(const std::string records, DigestOf(store, progress));
  return seen.records != records || seen.look != compared;
}

absl::StatusOr<ShiftLook::Answer> ShiftLook::Verdicts(
    const ActivationStore& store, ByteSpan pooled,
    const ProgressSink& progress) {
  FG_ASSIGN_OR_RETURN(const Seen seen, ReadSeen());
  FG_ASSIGN_OR_RETURN(const std::string records, DigestOf(store, progress));
  if (weights_ != nullptr) {
    FG_RETURN_IF_ERROR(weights_->Take(look_->sketch(), *site_));
  }
  const int64_t new_records = seen.records == records ? 0 : site_->n();
  Answer answer;
  FG_ASSIGN_OR_RETURN(answer.scalars,
                      TestSite(look_->sketch(), *site_, new_records));
  answer.sums = VerdictsOf(answer.scalars);
  FG_RETURN_IF_ERROR(WriteSeen({records, Sha256(pooled).AsWire()}));
  Drop();
  return answer;
}

absl::StatusOr<ShiftLook::Answer> ShiftLook::Sums(
    const ActivationStore& store, ByteSpan pooled,
    const ApplyModel& apply_model, const ProgressSink& progress) {
  if (const absl::Status status = Follow(store, pooled, apply_model, progress);
      !status.ok()) {
    Drop();
    return status;
  }
  if (look_->asks_verdicts()) return Verdicts(store, pooled, progress);
  Answer answer;
  FG_ASSIGN_OR_RETURN(answer.sums, site_->Sums(look_->sketch()));
  return answer;
}

}  // namespace fedgraft
