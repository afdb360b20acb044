#include "aggregator/store/spool_session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/numeric/update_payload.h"

namespace fedgraft {
namespace {

constexpr uint64_t kReadBytes = uint64_t{256} << 10;

// The bytes of an upload that stayed in memory, read like a file.
class InlineBytes : public ReadableFile {
 public:
  explicit InlineBytes(std::shared_ptr<const Bytes> bytes)
      : bytes_(std::move(bytes)) {}
  absl::Status ReadAt(uint64_t offset, absl::Span<uint8_t> out) const override {
    if (offset > bytes_->size() || out.size() > bytes_->size() - offset) {
      return absl::OutOfRangeError(absl::StrCat("an upload of ", bytes_->size(),
                                                " bytes has none from ", offset,
                                                " to ", offset + out.size()));
    }
    std::copy_n(bytes_->begin() + static_cast<ptrdiff_t>(offset), out.size(),
                out.begin());
    return absl::OkStatus();
  }
  uint64_t size_bytes() const override { return bytes_->size(); }

 private:
  const std::shared_ptr<const Bytes> bytes_;
};

std::string FolderOf(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

}  // namespace

SpoolSession::SpoolSession(FileStore& files, std::string path,
                           const SpoolKey& key)
    : files_(files), path_(std::move(path)), key_(key) {}

SpoolSession::~SpoolSession() {
  if (memory_bytes_ != nullptr) *memory_bytes_ -= key_.size_bytes;
}

absl::StatusOr<std::shared_ptr<SpoolSession>> SpoolSession::InFile(
    FileStore& files, std::string path, const SpoolKey& key) {
  std::shared_ptr<SpoolSession> session(
      new SpoolSession(files, std::move(path), key));
  std::lock_guard lock(session->mutex_);
  FG_RETURN_IF_ERROR(session->OpenFile(UINT64_MAX));
  session->offset_ = session->file_->size_bytes();
  if (session->offset_ > key.size_bytes) {  // not of this upload at all
    FG_RETURN_IF_ERROR(session->OpenFile(0));
    session->offset_ = 0;
  }
  if (session->offset_ == 0) session->ExpectAll();
  return session;
}

absl::StatusOr<std::shared_ptr<SpoolSession>> SpoolSession::OverFile(
    FileStore& files, std::string path, const SpoolKey& key) {
  std::shared_ptr<SpoolSession> session(
      new SpoolSession(files, std::move(path), key));
  std::lock_guard lock(session->mutex_);
  FG_ASSIGN_OR_RETURN(session->file_,
                      files.OpenOverwrite(session->path_, key.size_bytes));
  session->ExpectAll();
  return session;
}

std::shared_ptr<SpoolSession> SpoolSession::InMemory(
    FileStore& files, const SpoolKey& key,
    std::shared_ptr<std::atomic<uint64_t>> memory_bytes) {
  std::shared_ptr<SpoolSession> session(new SpoolSession(files, "", key));
  *memory_bytes += key.size_bytes;
  session->memory_bytes_ = std::move(memory_bytes);
  std::lock_guard lock(session->mutex_);
  session->memory_ = std::make_shared<Bytes>();
  session->memory_->reserve(key.size_bytes);
  session->ExpectAll();
  return session;
}

void SpoolSession::ExpectAll() {
  hasher_.emplace(UpdatePayloadHead::kBytes, key_.size_bytes);
}

absl::Status SpoolSession::OpenFile(uint64_t keep_bytes) {
  FG_ASSIGN_OR_RETURN(file_, files_.OpenAppend(path_, keep_bytes));
  return absl::OkStatus();
}

uint64_t SpoolSession::offset() const {
  std::lock_guard lock(mutex_);
  return offset_;
}

absl::StatusOr<uint64_t> SpoolSession::TakeTurn(
    uint64_t offset, std::shared_ptr<ArrivalObserver> observer) {
  std::lock_guard lock(mutex_);
  if (finishing_ || discarded_) {
    return absl::AbortedError("the upload is being finished or discarded");
  }
  if (offset != offset_) {
    return absl::OutOfRangeError(
        absl::StrCat("the upload goes on at byte ", offset_, ", not ", offset));
  }
  if (in_file() && file_ == nullptr) FG_RETURN_IF_ERROR(OpenFile(offset_));
  if (in_file() && offset_ == 0) observer_ = std::move(observer);
  return ++turn_;
}

absl::Status SpoolSession::CheckTurn(uint64_t turn) const {
  if (discarded_) return absl::AbortedError("the upload was discarded");
  if (turn != turn_) {
    return absl::AbortedError("another stream has taken this upload over");
  }
  if (finishing_) return absl::AbortedError("the upload is being finished");
  return absl::OkStatus();
}

absl::Status SpoolSession::Append(uint64_t turn, ByteSpan bytes) {
  std::lock_guard lock(mutex_);
  FG_RETURN_IF_ERROR(CheckTurn(turn));
  if (finished_) return absl::AbortedError("the upload is finished");
  if (bytes.size() > key_.size_bytes - offset_) {
    return absl::OutOfRangeError(absl::StrCat("the upload was announced with ",
                                              key_.size_bytes, " bytes, ",
                                              offset_ + bytes.size(), " came"));
  }
  if (!in_file()) {
    memory_->insert(memory_->end(), bytes.begin(), bytes.end());
  } else if (file_ == nullptr) {
    return absl::UnavailableError("writing the upload failed before");
  } else if (const absl::Status written = file_->Append(bytes); !written.ok()) {
    file_.reset();  // the next turn cuts what this call may have left
    return written;
  }
  if (hasher_) hasher_->Update(bytes);
  if (observer_ != nullptr) observer_->See(bytes);
  offset_ += bytes.size();
  return absl::OkStatus();
}

absl::StatusOr<SpooledUpdate> SpoolSession::Finish(uint64_t turn,
                                                   const SpoolCheck& check) {
  std::optional<SpooledUpdate> before;
  {
    std::lock_guard lock(mutex_);
    FG_RETURN_IF_ERROR(CheckTurn(turn));
    before = finished_;
    if (!before && offset_ != key_.size_bytes) {
      return absl::FailedPreconditionError(
          absl::StrCat("the upload has ", key_.size_bytes, " bytes, only ",
                       offset_, " came"));
    }
    if (!before) finishing_ = true;
  }
  if (before) {
    if (check) FG_RETURN_IF_ERROR(check(*before, nullptr));
    return *before;
  }
  const bool resumed = !hasher_.has_value();
  const absl::StatusOr<Digest> digest = FindDigest();
  const bool fits = digest.ok() && *digest == key_.sealed_digest;
  SpooledUpdate result;
  const absl::Status kept =
      fits ? CheckAndKeep(check, resumed, result) : digest.status();

  std::lock_guard lock(mutex_);
  finishing_ = false;
  if (discarded_) {
    RemoveFile();
    return absl::AbortedError("the upload was discarded");
  }
  FG_RETURN_IF_ERROR(digest.status());
  if (!fits) {
    FG_RETURN_IF_ERROR(StartAgain());
    const std::string found =
        absl::StrCat("expected digest ", key_.sealed_digest.Short(), ", got ",
                     digest->Short());
    if (!resumed) return absl::DataLossError(found);
    return absl::UnavailableError(
        absl::StrCat(found, " after a restart: send it again"));
  }
  if (resumed && absl::IsUnavailable(kept)) FG_RETURN_IF_ERROR(StartAgain());
  FG_RETURN_IF_ERROR(kept);
  finished_ = std::move(result);
  return *finished_;
}

absl::StatusOr<Digest> SpoolSession::FindDigest() {
  if (hasher_) {
    const Digest digest = hasher_->Finish();
    // A second Finish, should the check or the sync fail, reads all again.
    hasher_.reset();
    return digest;
  }
  if (!in_file()) return DigestOfSealed(UpdatePayloadHead::kBytes, *memory_);
  FG_ASSIGN_OR_RETURN(const auto file, files_.OpenRead(path_));
  SealedStreamDigest digest(UpdatePayloadHead::kBytes, file->size_bytes());
  Bytes piece(std::min<uint64_t>(kReadBytes, file->size_bytes()));
  for (uint64_t offset = 0; offset < file->size_bytes();) {
    const auto part = absl::MakeSpan(piece).first(
        std::min<uint64_t>(piece.size(), file->size_bytes() - offset));
    FG_RETURN_IF_ERROR(file->ReadAt(offset, part));
    digest.Update(part);
    offset += part.size();
  }
  return digest.Finish();
}

absl::Status SpoolSession::MakeDurable() {
  if (!in_file()) return absl::OkStatus();
  if (file_ == nullptr) {
    return absl::UnavailableError("writing the upload failed before");
  }
  if (const absl::Status synced = file_->Sync(); !synced.ok()) {
    file_.reset();
    return synced;
  }
  return files_.SyncFolder(FolderOf(path_));
}

absl::Status SpoolSession::CheckAndKeep(const SpoolCheck& check, bool resumed,
                                        SpooledUpdate& result) {
  FG_ASSIGN_OR_RETURN(result, OpenResult());
  if (check) {
    const auto seen = std::exchange(observer_, nullptr);
    const absl::Status checked = check(result, seen.get());
    if (!checked.ok() && resumed) {
      // The fault may be this disk's: what was not synced before the restart.
      return absl::UnavailableError(
          absl::StrCat(checked.message(), " after a restart: send it again"));
    }
    FG_RETURN_IF_ERROR(checked);
  }
  return MakeDurable();
}

absl::StatusOr<SpooledUpdate> SpoolSession::OpenResult() {
  SpooledUpdate update;
  if (in_file()) {
    update.spool_file = path_;
    FG_ASSIGN_OR_RETURN(update.sealed, files_.OpenRead(path_));
  } else {
    update.sealed_inline = memory_;
    update.sealed = std::make_shared<InlineBytes>(memory_);
  }
  return update;
}

absl::Status SpoolSession::StartAgain() {
  offset_ = 0;
  ExpectAll();
  observer_.reset();
  if (in_file()) return OpenFile(0);
  memory_->clear();
  return absl::OkStatus();
}

void SpoolSession::Discard() {
  std::lock_guard lock(mutex_);
  if (std::exchange(discarded_, true)) return;
  if (!finishing_) RemoveFile();  // else Finish does, when it is done with it
}

void SpoolSession::RemoveFile() {
  if (!in_file()) return;
  const absl::Status removed = files_.Remove(path_);
  if (removed.ok() || absl::IsNotFound(removed)) return;
  FG_LOG_WARNING("spool: {} stays: {}", path_, removed.ToString());
}

}  // namespace fedgraft
