#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/bytes.h"
#include "common/base/digest.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

class BlobWriter;

// Immutable bytes by their SHA-256: backbones and models, at the aggregator
// and at the sites. `<folder>/<digest>` holds a complete blob,
// `<folder>/partial/<digest>` one that is being fetched.
//
// A blob is under its name only after its bytes were verified and synced.
// Thread-safe; `files` outlives the store and its writers.
class BlobStore {
 public:
  BlobStore(FileStore& files, std::string folder);
  ~BlobStore();
  BlobStore(const BlobStore&) = delete;
  BlobStore& operator=(const BlobStore&) = delete;

  // Stores `bytes` durably; no effect if they are there.
  absl::StatusOr<Digest> Put(ByteSpan bytes);
  // The same for bytes that lie in several places.
  absl::StatusOr<Digest> PutPieces(absl::Span<const ByteSpan> pieces);
  // Begins, or goes on after a disconnect or restart, to store a blob that
  // arrives in pieces. ALREADY_EXISTS: it is complete. FAILED_PRECONDITION:
  // another writer of this blob is alive.
  absl::StatusOr<std::unique_ptr<BlobWriter>> BeginPut(const Digest& digest,
                                                       uint64_t size_bytes);
  // NOT_FOUND naming the digest.
  absl::StatusOr<std::unique_ptr<ReadableFile>> Open(const Digest& digest);
  // Reads all of it. DATA_LOSS if the bytes are not the digest's any more.
  absl::Status Verify(const Digest& digest);
  bool Has(const Digest& digest);
  // Complete blobs, in order.
  absl::StatusOr<std::vector<Digest>> List();
  // NOT_FOUND. Open files stay readable.
  absl::Status Remove(const Digest& digest);
  // The same, but one file of a large blob is kept as a spare: a later Put
  // writes over it, which costs a fraction of writing a new file, unless
  // somebody still has the blob open (by this store).
  absl::Status Recycle(const Digest& digest);
  // Removes the spare, unless it is being written over.
  void DropSpare();

 private:
  friend class BlobWriter;
  std::string PathOf(const Digest& digest) const;
  std::string PartialOf(const Digest& digest) const;
  absl::Status RemoveLocked(const Digest& digest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::string SparePath() const { return folder_ + "/partial/spare"; }
  void Release(const Digest& digest);
  // True: the spare is the caller's alone, until EndSpare.
  bool TakeSpare();
  // Removes what is left of it.
  void EndSpare();
  absl::StatusOr<Digest> PutOverSpare(absl::Span<const ByteSpan> pieces,
                                      uint64_t size_bytes);

  FileStore& files_;
  const std::string folder_;
  std::mutex mutex_;
  std::set<Digest> being_written_ ABSL_GUARDED_BY(mutex_);
  // Held by whoever has the blob open.
  std::map<Digest, std::weak_ptr<const void>> readers_ ABSL_GUARDED_BY(mutex_);
  enum class Spare { kNone, kFree, kTaken };
  Spare spare_ ABSL_GUARDED_BY(mutex_) = Spare::kNone;
  std::weak_ptr<const void> spare_readers_ ABSL_GUARDED_BY(mutex_);
};

// One blob being stored. Destroyed before Finish, it leaves what arrived for
// the next BeginPut. Not thread-safe.
class BlobWriter {
 public:
  ~BlobWriter();
  BlobWriter(const BlobWriter&) = delete;
  BlobWriter& operator=(const BlobWriter&) = delete;

  // Bytes that are held; the next Append goes there.
  uint64_t offset() const { return file_->size_bytes(); }
  uint64_t size_bytes() const { return size_bytes_; }
  // OUT_OF_RANGE: more than the announced size; nothing was appended.
  absl::Status Append(ByteSpan bytes);
  // Verifies and publishes the blob. FAILED_PRECONDITION: bytes are missing.
  // DATA_LOSS: other bytes than the digest names; they are removed, so that
  // the next attempt starts at 0.
  absl::Status Finish();

 private:
  friend class BlobStore;
  BlobWriter(BlobStore* store, const Digest& digest, uint64_t size_bytes,
             std::unique_ptr<WritableFile> file);

  BlobStore& store_;
  const Digest digest_;
  const uint64_t size_bytes_;
  std::unique_ptr<WritableFile> file_;
  // Hash of what this writer appended; of no use if it resumed.
  const bool resumed_;
  // All that is appended comes from memory that the store has hashed.
  bool hashed_ = false;
  struct Hash;
  std::unique_ptr<Hash> hash_;
};

}  // namespace fedgraft
