#include "client/agent/blob_fetcher.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/agent/retry.h"
#include "common/base/check.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr int kMismatchesMax = 2;

absl::StatusOr<Sha256Hasher> HashFile(FileStore& files, const std::string& path,
                                      uint64_t* size) {
  Sha256Hasher hasher;
  FG_ASSIGN_OR_RETURN(const auto file, files.OpenRead(path));
  *size = file->size_bytes();
  Bytes buffer(std::min<uint64_t>(*size, uint64_t{1} << 20));
  for (uint64_t offset = 0; offset < *size; offset += buffer.size()) {
    const auto part = absl::MakeSpan(buffer).subspan(
        0, std::min<uint64_t>(buffer.size(), *size - offset));
    FG_RETURN_IF_ERROR(file->ReadAt(offset, part));
    hasher.Update(part);
  }
  return hasher;
}

}  // namespace

BlobFetcher::BlobFetcher(AgentPorts ports, Background& background,
                         BackoffOptions backoff)
    : ports_(ports), background_(background), backoff_(ports.random, backoff) {}

void BlobFetcher::Fetch(BlobRequest request, Reply<Done> reply) {
  FG_CHECK(reply_ == nullptr);
  blob_ = std::move(request);
  reply_ = std::move(reply);
  mismatches_ = 0;
  local_error_ = absl::OkStatus();
  backoff_.Reset();
  if (blob_.size_bytes > blob_.size_bytes_max) {
    return Answer(absl::ResourceExhaustedError(absl::StrCat(
        "blob ", blob_.digest.Short(), " has ", blob_.size_bytes,
        " bytes, this site takes at most ", blob_.size_bytes_max)));
  }
  if (!blob_.keep) {
    absl::Status started = StartOver();
    return started.ok() ? Request() : Answer(std::move(started));
  }
  background_.Run(
      [&files = ports_.files, blob = blob_] { return Look(files, blob); },
      guard_(
          [this](absl::StatusOr<Found> found) { OnLooked(std::move(found)); }));
}

void BlobFetcher::Abort() {
  if (reply_ == nullptr) return;
  Answer(absl::CancelledError("fetch was given up"));
}

absl::StatusOr<BlobFetcher::Found> BlobFetcher::Look(FileStore& files,
                                                     const BlobRequest& blob) {
  Found found;
  uint64_t size = 0;
  auto whole = HashFile(files, blob.path, &size);
  if (whole.ok() && whole->Finish() == blob.digest) {
    found.complete = true;
    return found;
  }
  // Damaged since it was stored, or unreadable: fetched anew.
  if (!absl::IsNotFound(whole.status())) {
    FG_LOG_WARNING("{} no longer has its digest and is fetched again",
                   blob.path);
  }
  auto part = HashFile(files, blob.path + ".part", &size);
  if (part.ok()) {
    found.part_size = size;
    found.part_hasher = std::move(*part);
  }
  return found;
}

uint64_t BlobFetcher::SizeLimit() const {
  return blob_.size_bytes > 0 ? blob_.size_bytes : blob_.size_bytes_max;
}

std::string BlobFetcher::PartPath() const {
  return blob_.keep ? blob_.path + ".part" : blob_.path;
}

absl::Status BlobFetcher::StartOver() {
  part_.reset();
  hasher_ = Sha256Hasher();
  // A file that is not kept holds what was fetched before it, of much the same
  // size, and its place in memory is used again.
  auto opened = !blob_.keep && blob_.size_bytes > 0
                    ? ports_.files.OpenScratch(PartPath(), blob_.size_bytes)
                    : ports_.files.OpenAppend(PartPath(), 0);
  FG_ASSIGN_OR_RETURN(part_, std::move(opened));
  return absl::OkStatus();
}

void BlobFetcher::OnLooked(absl::StatusOr<Found> found) {
  if (!found.ok()) return Answer(std::move(found).status());
  if (found->complete) return Answer(Done{});
  // A part that is too long holds something else.
  const bool usable = found->part_size <= SizeLimit();
  if (!usable) found->part_hasher = Sha256Hasher();
  auto part =
      ports_.files.OpenAppend(PartPath(), usable ? found->part_size : 0);
  if (!part.ok()) return Answer(std::move(part).status());
  part_ = *std::move(part);
  hasher_ = std::move(found->part_hasher);
  Request();
}

void BlobFetcher::Request() {
  // The link may still deliver after Abort: then the sink refuses.
  auto sink = [this, token = guard_.token()](ByteSpan data) -> absl::Status {
    if (token.expired()) return absl::CancelledError("fetch was given up");
    if (local_error_.ok()) local_error_ = Receive(data);
    return local_error_;
  };
  ports_.link.FetchBlob(
      blob_.digest, part_->size_bytes(), std::move(sink),
      guard_([this](absl::StatusOr<Done> end) { OnEnd(end); }));
}

absl::Status BlobFetcher::Receive(ByteSpan data) {
  const uint64_t limit = SizeLimit();
  if (part_->size_bytes() > limit ||
      data.size() > limit - part_->size_bytes()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("blob ", blob_.digest.Short(), " is longer than the ",
                     limit, " bytes expected"));
  }
  FG_RETURN_IF_ERROR(part_->Append(data));
  hasher_.Update(data);
  bytes_received_ += data.size();
  backoff_.Reset();
  if (progress_) progress_();
  return absl::OkStatus();
}

void BlobFetcher::OnEnd(const absl::StatusOr<Done>& end) {
  // After a failed append the file may hold bytes that the hash does not.
  if (!local_error_.ok()) return Answer(local_error_);
  if (end.ok()) {
    if (hasher_.Finish() != blob_.digest) return OnMismatch();
    absl::Status completed = Complete();
    return completed.ok() ? Answer(Done{}) : Answer(std::move(completed));
  }
  // The part that was kept is longer than the blob.
  if (absl::IsOutOfRange(end.status())) return OnMismatch();
  if (!IsRetryable(end.status())) return Answer(end.status());
  FG_LOG_WARNING("fetch of {} stopped at {} bytes: {}", blob_.digest.Short(),
                 part_->size_bytes(), end.status().ToString());
  retry_timer_ =
      ports_.strand.After(backoff_.Next(), guard_([this] { Request(); }));
}

void BlobFetcher::OnMismatch() {
  const uint64_t size = part_->size_bytes();
  absl::Status restarted = StartOver();
  if (!restarted.ok()) return Answer(std::move(restarted));
  if (++mismatches_ < kMismatchesMax) return Request();
  Answer(absl::DataLossError(absl::StrCat(
      "blob ", blob_.digest.Hex(), " came ", mismatches_,
      " times with another digest, the last time with ", size, " bytes")));
}

absl::Status BlobFetcher::Complete() {
  if (!blob_.keep) return absl::OkStatus();
  FG_RETURN_IF_ERROR(part_->Sync());
  return ports_.files.Rename(PartPath(), blob_.path);
}

void BlobFetcher::Answer(absl::StatusOr<Done> answer) {
  guard_.Invalidate();
  if (retry_timer_ != 0) ports_.strand.Cancel(std::exchange(retry_timer_, 0));
  part_.reset();
  std::exchange(reply_, nullptr)(std::move(answer));
}

}  // namespace fedgraft
