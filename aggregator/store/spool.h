#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/base/digest.h"
#include "common/base/ids.h"
#include "common/protocol/messages.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// What an upload is: one per site, run, round and kind at a time.
struct SpoolKey {
  RunId run;
  RoundId round;
  TaskKind kind = TaskKind::kTrain;
  SiteId site;
  Digest sealed_digest;
  uint64_t size_bytes = 0;

  static SpoolKey Of(const SiteId& site, const UploadHeader& header);
};

// The sealed bytes of a complete upload, ready to be journalled.
struct SpooledUpdate {
  // Null if the bytes are in a file: then that file is durable.
  std::shared_ptr<const Bytes> sealed_inline;
  std::string spool_file;  // path in the FileStore; empty if inline
  // Either way.
  std::shared_ptr<const ReadableFile> sealed;
};

// Looks at the bytes of an upload while they arrive, when they are at hand
// anyway. What it finds counts only once they have their digest.
class ArrivalObserver {
 public:
  virtual ~ArrivalObserver() = default;
  // The next bytes, from the upload's first one on, without a gap. Calls come
  // one at a time, off the strand.
  virtual void See(ByteSpan bytes) = 0;
};

// Looks at the bytes of an upload that has its digest, before they count.
// `seen`: who saw all of them arrive; null if nobody did.
using SpoolCheck =
    std::function<absl::Status(const SpooledUpdate&, ArrivalObserver* seen)>;

class SpoolSession;

// One stream's hold on an upload session. The newest holder of a session has
// it: an older one, whose connection has broken without its noticing, gets
// ABORTED. Letting go keeps what arrived, for a resume. Thread-safe, meant to
// be used by one stream, off the strand.
class SpoolUpload {
 public:
  SpoolUpload(std::shared_ptr<SpoolSession> session, uint64_t turn)
      : session_(std::move(session)), turn_(turn) {}

  // Bytes that have arrived, this stream's and earlier ones'.
  uint64_t offset() const;
  // OUT_OF_RANGE: more than the announced size. RESOURCE_EXHAUSTED: disk full;
  // what arrived before stays. ABORTED: see above, or discarded, or finished.
  absl::Status Append(ByteSpan bytes);
  // Checks size and digest, asks `check` (null: nothing more to ask), and makes
  // the bytes durable (inline ones become so in the log): the disk writes them
  // while they are being checked. May take long: off the strand. What `check`
  // refuses with is returned; the bytes stay, not durable. FAILED_PRECONDITION:
  // bytes are missing. DATA_LOSS: other bytes than the digest names;
  // UNAVAILABLE: the same after a restart, when it may be this disk's fault.
  // Both drop what arrived: the upload starts again at 0. Else what the disk
  // answers.
  absl::StatusOr<SpooledUpdate> Finish(const SpoolCheck& check = nullptr);

 private:
  friend class Spool;
  std::shared_ptr<SpoolSession> session_;
  uint64_t turn_;
};

// Uploads on their way in. Small ones stay in memory (the log will hold them),
// larger ones are appended to `<folder>/<run>.<round>.<kind>.<site>.<digest>`
// as they arrive, still sealed, so that they survive a restart.
// Thread-safe. A method that touches the disk says so.
class Spool {
 public:
  struct Options {
    std::string folder = "spool";
    uint64_t inline_bytes_max = (uint64_t{1} << 20) - 1;
    uint64_t upload_bytes_max = uint64_t{1} << 30;
    // Of all uploads in memory; beyond it small ones go to files as well.
    uint64_t memory_bytes_max = uint64_t{256} << 20;
    size_t sessions_max = 4096;
    size_t spares_max = 64;
  };

  Spool(FileStore& files, Options options);
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  // Bytes held of this upload; 0 if none. Looks on disk.
  absl::StatusOr<uint64_t> Offset(const SpoolKey& key);
  // Begins or resumes; opens the file. `offset` is where the caller's bytes go
  // on. Supersedes an upload of the same site, run, round and kind with
  // another digest. OUT_OF_RANGE: `offset` is not what is held, which the
  // message tells; ABORTED: it is being finished; RESOURCE_EXHAUSTED: above
  // upload_bytes_max, or too many sessions; INVALID_ARGUMENT: size 0 or an id
  // that is no file name. `observer` (null: none) sees what arrives if it is
  // the first to, and the bytes go to a file; streams that resume the upload
  // go on with the same one. After a restart nobody sees all.
  absl::StatusOr<std::shared_ptr<SpoolUpload>> Begin(
      const SpoolKey& key, uint64_t offset,
      std::shared_ptr<ArrivalObserver> observer = nullptr);
  // Whether Begin is quick now: bytes of this upload stay in memory, and no
  // other upload gives way to it. A hint: another Begin may change it.
  bool BeginsInMemory(const SpoolKey& key) const;
  // Forgets the upload and removes its file, finished or not; ends its holders.
  void Discard(const SpoolKey& key);
  // Forgets the session of a finished upload; its file stays: it is its
  // contribution's from now on.
  void Release(const SpoolKey& key);

  // Opens the file of a SpooledUpdate again.
  absl::StatusOr<std::shared_ptr<const ReadableFile>> Open(
      std::string_view spool_file);
  // Removes a finished file that is not needed any more; OK if it is gone.
  absl::Status Remove(std::string_view spool_file);
  // The same, but a few files stay for later uploads to be written over: their
  // place on disk and in memory is there already. REQUIRES: nobody reads it.
  absl::Status Recycle(const std::string& spool_file);
  // Removes what Recycle left, as far as the disk lets it.
  void DropSpares();
  // Removes every file of the folder except these and those of sessions: what
  // a restart found no use for.
  absl::Status RemoveExcept(const std::set<std::string>& spool_files);

 private:
  // Site, run, round and kind: the key of a session.
  static std::string SlotOf(const SpoolKey& key);
  std::string PathOf(const SpoolKey& key) const;
  bool FitsInMemory(const SpoolKey& key) const;
  // The session of exactly this upload, or null.
  std::shared_ptr<SpoolSession> Find(const SpoolKey& key) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::shared_ptr<SpoolSession>> FindOrMake(const SpoolKey& key)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  FileStore& files_;
  const Options options_;
  // Bytes promised to uploads in memory; shared with their sessions.
  const std::shared_ptr<std::atomic<uint64_t>> memory_bytes_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<SpoolSession>> sessions_
      ABSL_GUARDED_BY(mutex_);
  std::set<std::string> spares_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fedgraft
