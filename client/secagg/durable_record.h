#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/base/secret.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// A small file that changes often and must be durable each time. Two files
// `path`.0 and `path`.1 are overwritten in turn, each with a number and a
// checksum: a change costs one sync of bytes that are in their place already,
// and nothing of the file system's own journal, which WriteAtomically waits for
// twice. With many masked sums that is most of what they cost a site.
//
// A power failure leaves the record of the newest Write that returned OK, or
// that of the one under way. Single-threaded. `files` outlives it.
class DurableRecord {
 public:
  // DATA_LOSS: both files are damaged.
  static absl::StatusOr<DurableRecord> Open(FileStore& files, std::string path);
  static absl::Status Remove(FileStore& files, const std::string& path);

  // Empty if nothing was ever written.
  ByteSpan content() const { return content_.span(); }
  // After an error the record in memory is what it was; which one a restart
  // will find is open until the next Write.
  absl::Status Write(ByteSpan content);

 private:
  DurableRecord(FileStore& files, std::string path)
      : files_(&files), path_(std::move(path)) {}

  struct Slot {
    bool exists = false;
    bool is_valid = false;
    uint64_t number = 0;
    uint64_t size_bytes = 0;  // of the file
    SecretBytes content;
  };

  std::string SlotPath(uint64_t number) const;
  absl::StatusOr<Slot> ReadSlot(uint64_t index) const;
  absl::Status WriteSlot(uint64_t number, ByteSpan content);

  FileStore* files_;
  std::string path_;
  uint64_t number_ = 0;  // of the newest; 0: none
  uint64_t size_bytes_ = 0;
  SecretBytes content_;
};

}  // namespace fedgraft
