#include "common/runtime/blob_store.h"

#include <algorithm>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/runtime/file_digest.h"

namespace fedgraft {
namespace {

absl::Status WrongContent(const Digest& named, const Digest& found) {
  return absl::DataLossError(absl::StrCat(
      "blob ", named.Short(), " holds bytes with the digest ", found.Short()));
}

// Smaller files are written as quickly anew.
constexpr uint64_t kSpareBytesMin = uint64_t{1} << 20;

// An open blob, and that it is open.
class BlobFile : public ReadableFile {
 public:
  BlobFile(std::unique_ptr<ReadableFile> file, std::shared_ptr<const void> held)
      : file_(std::move(file)), held_(std::move(held)) {}
  absl::Status ReadAt(uint64_t offset, absl::Span<uint8_t> out) const override {
    return file_->ReadAt(offset, out);
  }
  uint64_t size_bytes() const override { return file_->size_bytes(); }

 private:
  const std::unique_ptr<ReadableFile> file_;
  const std::shared_ptr<const void> held_;
};

Digest DigestOfPieces(absl::Span<const ByteSpan> pieces) {
  Sha256Hasher hasher;
  for (const ByteSpan piece : pieces) hasher.Update(piece);
  return hasher.Finish();
}

// What the writer does not hold yet.
absl::Status AppendRest(absl::Span<const ByteSpan> pieces, BlobWriter& writer) {
  uint64_t skip = writer.offset();
  for (const ByteSpan piece : pieces) {
    const uint64_t cut = std::min<uint64_t>(skip, piece.size());
    skip -= cut;
    FG_RETURN_IF_ERROR(writer.Append(piece.subspan(cut)));
  }
  return absl::OkStatus();
}

}  // namespace

struct BlobWriter::Hash {
  Sha256Hasher hasher;
};

BlobStore::BlobStore(FileStore& files, std::string folder)
    : files_(files), folder_(std::move(folder)) {}

BlobStore::~BlobStore() = default;

std::string BlobStore::PathOf(const Digest& digest) const {
  return absl::StrCat(folder_, "/", digest.Hex());
}

std::string BlobStore::PartialOf(const Digest& digest) const {
  return absl::StrCat(folder_, "/partial/", digest.Hex());
}

absl::StatusOr<Digest> BlobStore::Put(ByteSpan bytes) {
  return PutPieces({bytes});
}

absl::StatusOr<Digest> BlobStore::PutPieces(absl::Span<const ByteSpan> pieces) {
  uint64_t size_bytes = 0;
  for (const ByteSpan piece : pieces) size_bytes += piece.size();
  if (size_bytes >= kSpareBytesMin && TakeSpare()) {
    auto digest = PutOverSpare(pieces, size_bytes);
    EndSpare();
    return digest;
  }
  const Digest digest = DigestOfPieces(pieces);
  auto writer = BeginPut(digest, size_bytes);
  if (absl::IsAlreadyExists(writer.status())) return digest;
  FG_RETURN_IF_ERROR(writer.status());
  (*writer)->hashed_ = !(*writer)->resumed_;
  FG_RETURN_IF_ERROR(AppendRest(pieces, **writer));
  const absl::Status finished = (*writer)->Finish();
  if (!absl::IsDataLoss(finished)) {
    FG_RETURN_IF_ERROR(finished);
    return digest;
  }
  // What an earlier attempt had left was bad and is gone now.
  writer->reset();
  FG_ASSIGN_OR_RETURN(const auto again, BeginPut(digest, size_bytes));
  FG_RETURN_IF_ERROR(AppendRest(pieces, *again));
  FG_RETURN_IF_ERROR(again->Finish());
  return digest;
}

bool BlobStore::TakeSpare() {
  std::lock_guard lock(mutex_);
  if (spare_ != Spare::kFree || !spare_readers_.expired()) return false;
  spare_ = Spare::kTaken;
  return true;
}

absl::StatusOr<Digest> BlobStore::PutOverSpare(
    absl::Span<const ByteSpan> pieces, uint64_t size_bytes) {
  FG_ASSIGN_OR_RETURN(const auto file,
                      files_.OpenOverwrite(SparePath(), size_bytes));
  auto hashed = std::async(std::launch::async | std::launch::deferred,
                           [&pieces] { return DigestOfPieces(pieces); });
  absl::Status written;
  for (const ByteSpan piece : pieces) {
    if (written.ok()) written = file->Append(piece);
  }
  const Digest digest = hashed.get();
  FG_RETURN_IF_ERROR(written);
  if (Has(digest)) {
    FG_RETURN_IF_ERROR(files_.SyncFolder(folder_));
    return digest;
  }
  FG_RETURN_IF_ERROR(file->Sync());
  FG_RETURN_IF_ERROR(files_.Rename(SparePath(), PathOf(digest)));
  return digest;
}

absl::StatusOr<std::unique_ptr<BlobWriter>> BlobStore::BeginPut(
    const Digest& digest, uint64_t size_bytes) {
  if (Has(digest)) {
    // A process that died between rename and sync may have left the name in
    // memory only: who is told that the blob is there relies on it.
    FG_RETURN_IF_ERROR(files_.SyncFolder(folder_));
    return absl::AlreadyExistsError(
        absl::StrCat("blob ", digest.Short(), " is complete"));
  }
  {
    std::lock_guard lock(mutex_);
    if (!being_written_.insert(digest).second) {
      return absl::FailedPreconditionError(
          absl::StrCat("blob ", digest.Short(), " is being written already"));
    }
  }
  auto file = files_.OpenAppend(PartialOf(digest), UINT64_MAX);
  // Longer than the blob: not of this blob at all.
  if (file.ok() && (*file)->size_bytes() > size_bytes) {
    file = files_.OpenAppend(PartialOf(digest), 0);
  }
  if (!file.ok()) {
    Release(digest);
    return file.status();
  }
  return std::unique_ptr<BlobWriter>(
      new BlobWriter(this, digest, size_bytes, *std::move(file)));
}

absl::StatusOr<std::unique_ptr<ReadableFile>> BlobStore::Open(
    const Digest& digest) {
  // Under the lock: whom Recycle finds open is registered.
  std::lock_guard lock(mutex_);
  auto file = files_.OpenRead(PathOf(digest));
  if (absl::IsNotFound(file.status())) {
    return absl::NotFoundError(
        absl::StrCat("there is no blob ", digest.Hex(), " here"));
  }
  FG_RETURN_IF_ERROR(file.status());
  std::weak_ptr<const void>& readers = readers_[digest];
  std::shared_ptr<const void> held = readers.lock();
  if (held == nullptr) readers = held = std::make_shared<const char>();
  return std::make_unique<BlobFile>(*std::move(file), std::move(held));
}

absl::Status BlobStore::Verify(const Digest& digest) {
  FG_ASSIGN_OR_RETURN(const auto file, Open(digest));
  FG_ASSIGN_OR_RETURN(const Digest found, DigestOfFile(*file));
  return found == digest ? absl::OkStatus() : WrongContent(digest, found);
}

bool BlobStore::Has(const Digest& digest) {
  return files_.OpenRead(PathOf(digest)).ok();
}

absl::StatusOr<std::vector<Digest>> BlobStore::List() {
  FG_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                      files_.List(folder_));
  std::vector<Digest> digests;
  for (const std::string& name : names) {
    const auto digest = Digest::FromHex(name);
    if (digest.ok()) digests.push_back(*digest);
  }
  return digests;
}

absl::Status BlobStore::Remove(const Digest& digest) {
  std::lock_guard lock(mutex_);
  return RemoveLocked(digest);
}

absl::Status BlobStore::RemoveLocked(const Digest& digest) {
  readers_.erase(digest);
  const absl::Status removed = files_.Remove(PathOf(digest));
  if (!absl::IsNotFound(removed)) return removed;
  return absl::NotFoundError(
      absl::StrCat("there is no blob ", digest.Hex(), " here"));
}

absl::Status BlobStore::Recycle(const Digest& digest) {
  const auto file = files_.OpenRead(PathOf(digest));
  {
    std::lock_guard lock(mutex_);
    if (!file.ok() || (*file)->size_bytes() < kSpareBytesMin ||
        spare_ != Spare::kNone) {
      return RemoveLocked(digest);
    }
    spare_ = Spare::kTaken;
  }
  // Takes syncs, for which nobody else should wait.
  const absl::Status renamed = files_.Rename(PathOf(digest), SparePath());
  std::lock_guard lock(mutex_);
  spare_ = renamed.ok() ? Spare::kFree : Spare::kNone;
  spare_readers_ = std::exchange(readers_[digest], {});
  readers_.erase(digest);
  return renamed;
}

void BlobStore::DropSpare() {
  {
    std::lock_guard lock(mutex_);
    if (spare_ == Spare::kTaken) return;
    spare_ = Spare::kTaken;
  }
  EndSpare();
}

void BlobStore::EndSpare() {
  const absl::Status removed = files_.Remove(SparePath());
  if (!removed.ok() && !absl::IsNotFound(removed)) {
    FG_LOG_WARNING("{} stays: {}", SparePath(), removed.ToString());
  }
  std::lock_guard lock(mutex_);
  spare_ = Spare::kNone;
}

void BlobStore::Release(const Digest& digest) {
  std::lock_guard lock(mutex_);
  being_written_.erase(digest);
}

BlobWriter::BlobWriter(BlobStore* store, const Digest& digest,
                       uint64_t size_bytes, std::unique_ptr<WritableFile> file)
    : store_(*store),
      digest_(digest),
      size_bytes_(size_bytes),
      file_(std::move(file)),
      resumed_(file_->size_bytes() > 0),
      hash_(std::make_unique<Hash>()) {}

BlobWriter::~BlobWriter() { store_.Release(digest_); }

absl::Status BlobWriter::Append(ByteSpan bytes) {
  if (bytes.size() > size_bytes_ - offset()) {
    return absl::OutOfRangeError(
        absl::StrCat("blob ", digest_.Short(), " has ", size_bytes_, " bytes, ",
                     offset() + bytes.size(), " came"));
  }
  FG_RETURN_IF_ERROR(file_->Append(bytes));
  if (!resumed_ && !hashed_) hash_->hasher.Update(bytes);
  return absl::OkStatus();
}

absl::Status BlobWriter::Finish() {
  if (offset() != size_bytes_) {
    return absl::FailedPreconditionError(
        absl::StrCat("blob ", digest_.Short(), " has ", size_bytes_,
                     " bytes, only ", offset(), " came"));
  }
  const std::string partial = store_.PartialOf(digest_);
  Digest found = digest_;
  if (resumed_) {
    FG_ASSIGN_OR_RETURN(const auto file, store_.files_.OpenRead(partial));
    FG_ASSIGN_OR_RETURN(found, DigestOfFile(*file));
  } else if (!hashed_) {
    found = hash_->hasher.Finish();
    hash_ = std::make_unique<Hash>();
  }
  if (found != digest_) {
    FG_RETURN_IF_ERROR(store_.files_.Remove(partial));
    return WrongContent(digest_, found);
  }
  FG_RETURN_IF_ERROR(file_->Sync());
  return store_.files_.Rename(partial, store_.PathOf(digest_));
}

}  // namespace fedgraft
