#include "aggregator/round/arrival_check.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/protocol/statements.h"

namespace fedgraft {

ArrivalCheck::ArrivalCheck(UpdateToVerify update,
                           std::shared_ptr<RunningSum> sum)
    : update_(std::move(update)),
      sum_(std::move(sum)),
      verifier_(ExpectationOf(update_.form)),
      status_(verifier_.CheckShape(update_.form.shape)) {}

uint64_t ArrivalCheck::PartBytes() const {
  return opener_ == nullptr ? kSealedEncBytes
                            : update_.form.shape.SealedSize(next_chunk_);
}

void ArrivalCheck::See(ByteSpan bytes) {
  while (status_.ok() && !bytes.empty()) {
    if (opener_ != nullptr && next_chunk_ == update_.form.shape.ChunkCount()) {
      status_ =
          RefusalError(RefusalReason::kBadSize, "bytes follow the last chunk");
      return;
    }
    const uint64_t wanted = PartBytes();
    if (begun_.empty() && bytes.size() >= wanted) {
      status_ = TakePart(bytes.first(wanted));
      bytes.remove_prefix(wanted);
      continue;
    }
    const uint64_t more =
        std::min<uint64_t>(wanted - begun_.size(), bytes.size());
    begun_.insert(begun_.end(), bytes.begin(),
                  bytes.begin() + static_cast<ptrdiff_t>(more));
    bytes.remove_prefix(more);
    if (begun_.size() == wanted) {
      status_ = TakePart(begun_);
      begun_.clear();
    }
  }
}

absl::Status ArrivalCheck::TakePart(ByteSpan part) {
  if (opener_ == nullptr) {
    auto opener = MakeOpener(update_.site.id, update_.header, update_.form,
                             *update_.key, part);
    if (!opener.ok()) {
      return RefusalError(RefusalReason::kBadSeal,
                          std::string(opener.status().message()));
    }
    opener_ = std::make_shared<const SealedStreamOpener>(*std::move(opener));
    return absl::OkStatus();
  }
  const uint64_t chunk = next_chunk_++;
  plain_.resize(update_.form.shape.PlainSize(chunk));
  const absl::Status opened =
      opener_->Open(chunk, part, absl::MakeSpan(plain_));
  if (!opened.ok()) {
    return SealRefusal(Annotate(
        opened, absl::StrCat("contribution of site ", update_.site.id.value)));
  }
  FG_RETURN_IF_ERROR(verifier_.Add(plain_));
  if (sum_ != nullptr && chunk > 0) sum_->Add(chunk - 1, plain_);
  return absl::OkStatus();
}

void ArrivalCheck::Count() {
  if (sum_ != nullptr) sum_->Count(update_.header.sealed_digest);
}

bool ArrivalCheck::IsFor(const UpdateToVerify& update) const {
  return update.header.suite == update_.header.suite &&
         UploadStatement(update.site.id, update.header) ==
             UploadStatement(update_.site.id, update_.header);
}

absl::StatusOr<VerifiedUpdate> ArrivalCheck::Finish() && {
  FG_RETURN_IF_ERROR(status_);
  return std::move(verifier_).Finish();
}

}  // namespace fedgraft
