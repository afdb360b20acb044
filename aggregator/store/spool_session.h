#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregator/store/spool.h"
#include "common/crypto/sealed_stream.h"

namespace fedgraft {

// What has arrived of one upload, in memory or in its file, and who may add to
// it. Made by Spool, held by Spool and by SpoolUploads. Thread-safe; the lock
// is not held while a finished file is hashed and synced, so that nobody else
// waits for a slow disk.
class SpoolSession {
 public:
  // Goes on with the file at `path` if there is one.
  static absl::StatusOr<std::shared_ptr<SpoolSession>> InFile(
      FileStore& files, std::string path, const SpoolKey& key);
  // Over the file at `path`, whose bytes are of no use any more. It does not
  // survive a restart before it is finished: nobody asks for it by that name.
  static absl::StatusOr<std::shared_ptr<SpoolSession>> OverFile(
      FileStore& files, std::string path, const SpoolKey& key);
  // In memory; gives size_bytes back to `memory_bytes` in the end.
  static std::shared_ptr<SpoolSession> InMemory(
      FileStore& files, const SpoolKey& key,
      std::shared_ptr<std::atomic<uint64_t>> memory_bytes);
  ~SpoolSession();
  SpoolSession(const SpoolSession&) = delete;
  SpoolSession& operator=(const SpoolSession&) = delete;

  const SpoolKey& key() const { return key_; }
  const std::string& path() const { return path_; }  // empty: in memory

  uint64_t offset() const;
  // Gives the session to a new holder. Errors as of Spool::Begin.
  absl::StatusOr<uint64_t> TakeTurn(uint64_t offset,
                                    std::shared_ptr<ArrivalObserver> observer);
  absl::Status Append(uint64_t turn, ByteSpan bytes);
  absl::StatusOr<SpooledUpdate> Finish(uint64_t turn, const SpoolCheck& check);
  // Nothing is accepted any more; the file is removed.
  void Discard();

 private:
  SpoolSession(FileStore& files, std::string path, const SpoolKey& key);
  bool in_file() const { return !path_.empty(); }
  absl::Status CheckTurn(uint64_t turn) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // (Re)opens the file behind its first `keep_bytes`.
  absl::Status OpenFile(uint64_t keep_bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status StartAgain() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RemoveFile();
  void ExpectAll() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Digest of what arrived. Without the lock: `finishing_` keeps others away.
  absl::StatusOr<Digest> FindDigest() ABSL_NO_THREAD_SAFETY_ANALYSIS;
  absl::Status MakeDurable() ABSL_NO_THREAD_SAFETY_ANALYSIS;
  absl::Status CheckAndKeep(const SpoolCheck& check, bool resumed,
                            SpooledUpdate& result)
      ABSL_NO_THREAD_SAFETY_ANALYSIS;
  absl::StatusOr<SpooledUpdate> OpenResult() ABSL_NO_THREAD_SAFETY_ANALYSIS;

  FileStore& files_;
  const std::string path_;
  const SpoolKey key_;
  std::shared_ptr<std::atomic<uint64_t>> memory_bytes_;

  mutable std::mutex mutex_;
  uint64_t turn_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t offset_ ABSL_GUARDED_BY(mutex_) = 0;
  bool finishing_ ABSL_GUARDED_BY(mutex_) = false;
  bool discarded_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<Bytes> memory_ ABSL_GUARDED_BY(mutex_);
  // Null in memory, and after a failed write until the next turn.
  std::unique_ptr<WritableFile> file_ ABSL_GUARDED_BY(mutex_);
  // Of all bytes so far; nullopt: some came before a restart.
  std::optional<SealedStreamDigest> hasher_ ABSL_GUARDED_BY(mutex_);
  // Has seen all bytes so far; null: nobody has.
  std::shared_ptr<ArrivalObserver> observer_ ABSL_GUARDED_BY(mutex_);
  std::optional<SpooledUpdate> finished_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fedgraft
