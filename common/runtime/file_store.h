#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/bytes.h"

namespace fedgraft {

// A file being written, front to back. Not thread-safe. Closed by the
// destructor.
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  // RESOURCE_EXHAUSTED: disk full. After an error nothing may be assumed of
  // the bytes of this call; earlier ones stand.
  virtual absl::Status Append(ByteSpan data) = 0;
  // After OK, every appended byte survives a power failure.
  virtual absl::Status Sync() = 0;
  // Where the next byte goes.
  virtual uint64_t size_bytes() const = 0;
};

// Thread-safe.
class ReadableFile {
 public:
  virtual ~ReadableFile() = default;
  // Fills `out` from `offset`. OUT_OF_RANGE if the file ends before that.
  virtual absl::Status ReadAt(uint64_t offset,
                              absl::Span<uint8_t> out) const = 0;
  virtual uint64_t size_bytes() const = 0;
};

// Port: one folder on disk. Paths are relative, '/' between parts, never
// absolute and never with "..". Thread-safe; an open file is its opener's.
class FileStore {
 public:
  virtual ~FileStore() = default;
  // Opens for append, creating file and parent folders; truncates first to
  // `keep_bytes` if the file is longer (UINT64_MAX: keep all). A new file's
  // name is durable only after SyncFolder or Rename.
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> OpenAppend(
      std::string_view path, uint64_t keep_bytes) = 0;
  // Opens for writing from byte 0 over what is there, creating file and parent
  // folders; cuts the file first to `size_bytes_max`, of which the caller
  // writes every byte. Cheaper than to begin a file of the same size anew, for
  // it keeps its place on disk, but until Sync a power failure leaves any mix
  // of old and new bytes: for content that is checked when it is read.
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> OpenOverwrite(
      std::string_view path, uint64_t size_bytes_max) = 0;
  // The same for bytes that nobody will sync: the disk may never see them.
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> OpenScratch(
      std::string_view path, uint64_t size_bytes_max) {
    return OpenOverwrite(path, size_bytes_max);
  }
  // NOT_FOUND if it does not exist.
  virtual absl::StatusOr<std::unique_ptr<ReadableFile>> OpenRead(
      std::string_view path) = 0;
  // Atomic replacement, durable (folder entry included) once it returns OK.
  virtual absl::Status Rename(std::string_view from, std::string_view to) = 0;
  // NOT_FOUND if it does not exist.
  virtual absl::Status Remove(std::string_view path) = 0;
  // Plain files directly in `folder`, sorted; empty if there is no folder.
  virtual absl::StatusOr<std::vector<std::string>> List(
      std::string_view folder) = 0;
  // Makes creations and removals in `folder` durable.
  virtual absl::Status SyncFolder(std::string_view folder) = 0;
};

// INVALID_ARGUMENT unless `path` names a file inside the store: relative,
// non-empty parts, none of them "." or "..", no NUL. CheckFolder also takes
// "", the root. Implementations of the port call these first.
absl::Status CheckPath(std::string_view path);
absl::Status CheckFolder(std::string_view folder);

// Whole-file helpers on the port.
absl::StatusOr<Bytes> ReadAll(FileStore& store, std::string_view path);
// Writes `path`.tmp, syncs, renames: afterwards either the old or the new
// content is there, whatever happens.
absl::Status WriteAtomically(FileStore& store, std::string_view path,
                             ByteSpan content);

}  // namespace fedgraft
