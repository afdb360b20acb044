#include "aggregator/store/spool.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/store/spool_session.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

// Enough to tell one site's uploads of a round apart.
constexpr size_t kDigestDigits = 16;
constexpr size_t kIdBytesMax = 64;

// Ids become part of a file's name.
absl::Status CheckId(std::string_view kind, const std::string& id) {
  const bool plain = !id.empty() && id.size() <= kIdBytesMax &&
                     std::all_of(id.begin(), id.end(), [](char c) {
                       return (c >= 'a' && c <= 'z') ||
                              (c >= 'A' && c <= 'Z') ||
                              (c >= '0' && c <= '9') || c == '-' || c == '_';
                     });
  if (plain) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("a ", std::string(kind), " id has 1 to ", kIdBytesMax,
                   " letters, digits, '-' or '_', got '", id, "'"));
}

}  // namespace

SpoolKey SpoolKey::Of(const SiteId& site, const UploadHeader& header) {
  return {.run = header.run,
          .round = header.round,
          .kind = header.kind,
          .site = site,
          .sealed_digest = header.sealed_digest,
          .size_bytes = header.size_bytes};
}

uint64_t SpoolUpload::offset() const { return session_->offset(); }

absl::Status SpoolUpload::Append(ByteSpan bytes) {
  return session_->Append(turn_, bytes);
}

absl::StatusOr<SpooledUpdate> SpoolUpload::Finish(const SpoolCheck& check) {
  return session_->Finish(turn_, check);
}

Spool::Spool(FileStore& files, Options options)
    : files_(files),
      options_(std::move(options)),
      memory_bytes_(std::make_shared<std::atomic<uint64_t>>(0)) {}

Spool::~Spool() = default;

std::string Spool::SlotOf(const SpoolKey& key) {
  return absl::StrCat(key.run.value, ".", key.round.value, ".",
                      TaskKindName(key.kind), ".", key.site.value);
}

std::string Spool::PathOf(const SpoolKey& key) const {
  return absl::StrCat(options_.folder, "/", SlotOf(key), ".",
                      key.sealed_digest.Hex().substr(0, kDigestDigits));
}

std::shared_ptr<SpoolSession> Spool::Find(const SpoolKey& key) const {
  const auto found = sessions_.find(SlotOf(key));
  if (found == sessions_.end()) return nullptr;
  const SpoolKey& other = found->second->key();
  const bool same = other.sealed_digest == key.sealed_digest &&
                    other.size_bytes == key.size_bytes;
  return same ? found->second : nullptr;
}

absl::StatusOr<uint64_t> Spool::Offset(const SpoolKey& key) {
  FG_RETURN_IF_ERROR(CheckId("run", key.run.value));
  FG_RETURN_IF_ERROR(CheckId("site", key.site.value));
  std::lock_guard lock(mutex_);
  if (const auto session = Find(key)) return session->offset();
  const auto file = files_.OpenRead(PathOf(key));
  if (absl::IsNotFound(file.status())) return uint64_t{0};
  FG_RETURN_IF_ERROR(file.status());
  const uint64_t held = (*file)->size_bytes();
  return held <= key.size_bytes ? held : 0;
}

absl::StatusOr<std::shared_ptr<SpoolSession>> Spool::FindOrMake(
    const SpoolKey& key) {
  if (auto session = Find(key)) return session;
  const std::string slot = SlotOf(key);
  if (const auto other = sessions_.find(slot); other != sessions_.end()) {
    other->second->Discard();
    sessions_.erase(other);
  }
  if (sessions_.size() >= options_.sessions_max) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "there are ", sessions_.size(), " uploads on their way already"));
  }
  std::shared_ptr<SpoolSession> session;
  if (FitsInMemory(key)) {
    session = SpoolSession::InMemory(files_, key, memory_bytes_);
  } else if (spares_.empty() || files_.OpenRead(PathOf(key)).ok()) {
    FG_ASSIGN_OR_RETURN(session,
                        SpoolSession::InFile(files_, PathOf(key), key));
  } else {
    const std::string spare = spares_.extract(spares_.begin()).value();
    FG_ASSIGN_OR_RETURN(session, SpoolSession::OverFile(files_, spare, key));
  }
  sessions_.emplace(slot, session);
  return session;
}

absl::StatusOr<std::shared_ptr<SpoolUpload>> Spool::Begin(
    const SpoolKey& key, uint64_t offset,
    std::shared_ptr<ArrivalObserver> observer) {
  FG_RETURN_IF_ERROR(CheckId("run", key.run.value));
  FG_RETURN_IF_ERROR(CheckId("site", key.site.value));
  if (key.size_bytes == 0) {
    return absl::InvalidArgumentError("an upload has at least one byte");
  }
  if (key.size_bytes > options_.upload_bytes_max) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "an upload of ", key.size_bytes, " bytes is above the limit of ",
        options_.upload_bytes_max));
  }
  std::lock_guard lock(mutex_);
  FG_ASSIGN_OR_RETURN(const auto session, FindOrMake(key));
  FG_ASSIGN_OR_RETURN(const uint64_t turn,
                      session->TakeTurn(offset, std::move(observer)));
  return std::make_shared<SpoolUpload>(session, turn);
}

bool Spool::FitsInMemory(const SpoolKey& key) const {
  return key.size_bytes <= options_.inline_bytes_max &&
         *memory_bytes_ + key.size_bytes <= options_.memory_bytes_max;
}

bool Spool::BeginsInMemory(const SpoolKey& key) const {
  if (!FitsInMemory(key)) return false;
  std::lock_guard lock(mutex_);
  return !sessions_.contains(SlotOf(key));
}

void Spool::Discard(const SpoolKey& key) {
  std::lock_guard lock(mutex_);
  const auto session = Find(key);
  if (session == nullptr) return;
  sessions_.erase(SlotOf(key));
  session->Discard();
}

void Spool::Release(const SpoolKey& key) {
  std::lock_guard lock(mutex_);
  if (Find(key) != nullptr) sessions_.erase(SlotOf(key));
}

absl::StatusOr<std::shared_ptr<const ReadableFile>> Spool::Open(
    std::string_view spool_file) {
  FG_ASSIGN_OR_RETURN(std::shared_ptr<const ReadableFile> file,
                      files_.OpenRead(spool_file));
  return file;
}

absl::Status Spool::Remove(std::string_view spool_file) {
  const absl::Status removed = files_.Remove(spool_file);
  return absl::IsNotFound(removed) ? absl::OkStatus() : removed;
}

absl::Status Spool::Recycle(const std::string& spool_file) {
  {
    std::lock_guard lock(mutex_);
    if (spares_.size() < options_.spares_max) {
      spares_.insert(spool_file);
      return absl::OkStatus();
    }
  }
  return Remove(spool_file);
}

void Spool::DropSpares() {
  std::lock_guard lock(mutex_);
  for (const std::string& spare : std::exchange(spares_, {})) {
    if (const absl::Status removed = Remove(spare); !removed.ok()) {
      FG_LOG_WARNING("spool file {} stays: {}", spare,
                     std::string(removed.message()));
    }
  }
}

absl::Status Spool::RemoveExcept(const std::set<std::string>& spool_files) {
  std::lock_guard lock(mutex_);
  std::set<std::string> keep = spool_files;
  keep.insert(spares_.begin(), spares_.end());
  for (const auto& [slot, session] : sessions_) keep.insert(session->path());
  FG_ASSIGN_OR_RETURN(const auto names, files_.List(options_.folder));
  for (const std::string& name : names) {
    const std::string path = absl::StrCat(options_.folder, "/", name);
    if (keep.contains(path)) continue;
    FG_LOG_INFO("spool: {} belongs to nothing and is removed", path);
    FG_RETURN_IF_ERROR(files_.Remove(path));
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
