#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/runtime/file_store.h"
#include "tests/support/sim_random.h"

namespace fedgraft::testing {

// A FileStore in memory that can lose what was not synced.
//
// Model: a file's written bytes, and its truncation, are durable after its
// Sync; names (creations, removals) after SyncFolder of their folder; a Rename
// that returned OK is durable. A file that was never named durably is gone
// after a crash although its bytes were synced.
//
// Thread-safe. Open files belong to the process that a KillProcess or Crash
// ends: afterwards they answer UNAVAILABLE.
class SimFileStore : public FileStore {
 public:
  SimFileStore();
  ~SimFileStore() override;

  absl::StatusOr<std::unique_ptr<WritableFile>> OpenAppend(
      std::string_view path, uint64_t keep_bytes) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenOverwrite(
      std::string_view path, uint64_t size_bytes_max) override;
  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenRead(
      std::string_view path) override;
  absl::Status Rename(std::string_view from, std::string_view to) override;
  absl::Status Remove(std::string_view path) override;
  absl::StatusOr<std::vector<std::string>> List(
      std::string_view folder) override;
  absl::Status SyncFolder(std::string_view folder) override;

  // The process dies, the machine stays up: bytes stay, open files end.
  void KillProcess();
  // The machine loses power. Of the unsynced name changes a seeded number of
  // the oldest survives; of each file's unsynced bytes a seeded part: a prefix
  // of any length, in half of the cases with a torn stretch of zeros or
  // garbage in it; of bytes written over durable ones a seeded stretch is the
  // old ones again. Ends open files, full disks and halts.
  void Crash(uint64_t seed);

  // Faults. The next `count` appends each write half of their bytes and then
  // fail with RESOURCE_EXHAUSTED.
  void FailAppends(int count);
  // The next `count` syncs of files fail with UNAVAILABLE; the file handle
  // stays failed.
  void FailSyncs(int count);
  // Appends beyond this many bytes in all files fail like a full disk.
  void SetCapacity(uint64_t bytes);
  // After `operations` more changing operations (append, sync, rename,
  // remove, folder sync) everything answers UNAVAILABLE until Crash or
  // KillProcess: for crashes in the middle of a piece of work. The last one
  // takes effect, not durably, but is not acknowledged either.
  void HaltAfter(uint64_t operations);

  // For tests that damage or look at files directly. REQUIRES: it exists.
  Bytes Content(std::string_view path) const;
  // Replaces the content, durably; makes the file if needed.
  void SetContent(std::string_view path, Bytes content);
  bool Exists(std::string_view path) const;
  std::vector<std::string> AllPaths() const;
  uint64_t operations() const;
  uint64_t syncs() const;

 private:
  struct File;
  struct NameChange;
  class Writer;
  class Reader;
  using FilePtr = std::shared_ptr<File>;
  using Names = std::map<std::string, FilePtr, std::less<>>;

  // Counts one changing operation. OK: go on; otherwise the machine stands
  // still. `*last` tells that this one is not to be acknowledged.
  absl::Status BeginChange(bool* last) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckRunning() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint64_t UsedBytes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void MakeNamesDurable(std::set<std::string> folders)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<FilePtr> OpenAndCut(std::string_view path, uint64_t size_max)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static void Apply(const NameChange& change, Names& names);
  static void CrashFile(File& file, SimRandom& random);

  mutable std::mutex mutex_;
  Names names_ ABSL_GUARDED_BY(mutex_);
  Names durable_names_ ABSL_GUARDED_BY(mutex_);
  std::list<NameChange> pending_ ABSL_GUARDED_BY(mutex_);  // oldest first
  uint64_t boot_ ABSL_GUARDED_BY(mutex_) = 0;  // handles of older ones ended
  bool halted_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t until_halt_ ABSL_GUARDED_BY(mutex_) = UINT64_MAX;
  uint64_t capacity_bytes_ ABSL_GUARDED_BY(mutex_) = UINT64_MAX;
  int failing_appends_ ABSL_GUARDED_BY(mutex_) = 0;
  int failing_syncs_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t operations_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t syncs_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace fedgraft::testing
