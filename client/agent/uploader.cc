#include "client/agent/uploader.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/agent/retry.h"
#include "common/base/check.h"
#include "common/base/logging.h"

namespace fedgraft {

Uploader::Uploader(AgentPorts ports, BackoffOptions backoff)
    : ports_(ports), backoff_(ports.random, backoff) {}

void Uploader::Upload(SealedUpdate update, bool ask_first,
                      Reply<UploadReceipt> reply) {
  FG_CHECK(reply_ == nullptr);
  update_ = std::move(update);
  reply_ = std::move(reply);
  aborted_ = false;
  damaged_ = 0;
  backoff_.Reset();
  ask_first ? Ask() : Submit(0);
}

void Uploader::Abort() {
  if (reply_ == nullptr) return;
  aborted_ = true;
  if (retry_timer_ != 0) {
    ports_.strand.Cancel(std::exchange(retry_timer_, 0));
    Answer(absl::CancelledError("upload was given up"));
  }
}

void Uploader::Ask() {
  ports_.link.QueryUpload(update_->header(),
                          guard_([this](absl::StatusOr<UploadOffset> offset) {
                            OnOffset(offset);
                          }));
}

void Uploader::OnOffset(const absl::StatusOr<UploadOffset>& offset) {
  if (!offset.ok()) return OnFailure(offset.status());
  if (offset->receipt.has_value()) return OnReceipt(0, *offset->receipt);
  if (aborted_) return Answer(absl::CancelledError("upload was given up"));
  if (offset->offset > update_->header().size_bytes) {
    return OnFailure(absl::InternalError(
        absl::StrCat("the aggregator holds ", offset->offset,
                     " bytes of an update of ", update_->header().size_bytes)));
  }
  Submit(offset->offset);
}

void Uploader::Submit(uint64_t offset) {
  const UploadHeader& header = update_->header();
  auto sealed = update_->Open(ports_.files);
  if (!sealed.ok()) return Answer(std::move(sealed).status());
  AuditEvent event;
  event.event = "update";
  event.run = header.run;
  event.round = header.round;
  event.bytes = header.size_bytes - offset;
  event.digest = header.sealed_digest;
  event.detail = TaskKindName(header.kind);
  absl::Status recorded = ports_.audit.Record(event);
  if (!recorded.ok()) return Answer(std::move(recorded));
  ports_.link.Submit(header, offset, *std::move(sealed),
                     guard_([this, offset](absl::StatusOr<UploadReceipt> r) {
                       OnReceipt(offset, std::move(r));
                     }));
}

absl::Status Uploader::CheckReceipt(const UploadReceipt& receipt) const {
  if (receipt.sealed_digest == update_->header().sealed_digest) {
    return absl::OkStatus();
  }
  return absl::UnavailableError(
      absl::StrCat("receipt is for ", receipt.sealed_digest.Short(), ", not ",
                   update_->header().sealed_digest.Short()));
}

void Uploader::OnReceipt(uint64_t offset,
                         absl::StatusOr<UploadReceipt> receipt) {
  if (!receipt.ok()) return OnFailure(receipt.status());
  const absl::Status valid = CheckReceipt(*receipt);
  if (!valid.ok()) return OnFailure(valid);
  bytes_sent_ += update_->header().size_bytes - offset;
  Answer(std::move(receipt));
}

void Uploader::OnFailure(const absl::Status& status) {
  // Damage between this site's disk and the aggregator's: it dropped what it
  // had, so the same bytes can be sent again.
  const std::optional<RefusalReason> refusal = RefusalOf(status);
  const bool damaged = (refusal == RefusalReason::kBadDigest ||
                        refusal == RefusalReason::kBadSeal) &&
                       ++damaged_ < kDamagedMax;
  // OUT_OF_RANGE: the aggregator holds another number of bytes by now.
  const bool moved = absl::IsOutOfRange(status);
  if (!damaged && !moved && !IsRetryable(status)) return Answer(status);
  if (aborted_) return Answer(absl::CancelledError("upload was given up"));
  FG_LOG_WARNING("upload of round {} ({}) is tried again: {}",
                 update_->header().round.value,
                 update_->header().sealed_digest.Short(), status.ToString());
  retry_timer_ = ports_.strand.After(backoff_.Next(), guard_([this] {
                                       retry_timer_ = 0;
                                       Ask();
                                     }));
}

void Uploader::Answer(absl::StatusOr<UploadReceipt> answer) {
  update_.reset();
  std::exchange(reply_, nullptr)(std::move(answer));
}

}  // namespace fedgraft
