#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace fedgraft {

// One member of an archive, read from its start. Not thread-safe. Outlived by
// its archive.
class ZipMember {
 public:
  ZipMember(ZipMember&&) noexcept;
  ~ZipMember();

  // Size after unpacking, as the archive declares it.
  uint64_t size_bytes() const { return size_bytes_; }
  // Fills `out`. DATA_LOSS: the member ends before, or its data are corrupt.
  absl::Status Read(absl::Span<uint8_t> out);
  // Checks that everything was read and the checksum fits; DATA_LOSS if not.
  absl::Status Finish();

 private:
  friend class ZipArchive;
  struct File;
  ZipMember(std::unique_ptr<File> file, std::string name, uint64_t size_bytes);

  std::unique_ptr<File> file_;
  std::string name_;
  uint64_t size_bytes_;
};

// A zip file open for reading, hardened against hostile ones: plain or deflated
// members only, no encryption, a limited number of members, no name twice, and
// no declared size that deflate cannot reach. Not thread-safe. `path` does not
// change meanwhile.
class ZipArchive {
 public:
  // NOT_FOUND: no such file; INVALID_ARGUMENT: not such an archive.
  static absl::StatusOr<ZipArchive> Open(const std::string& path,
                                         int64_t members_max = 1024);
  ZipArchive(ZipArchive&&) noexcept;
  ~ZipArchive();

  bool Contains(const std::string& name) const;
  // Of all members, in the archive's order.
  std::vector<std::string> Names() const;
  // NOT_FOUND: no such member; INVALID_ARGUMENT: one that is refused.
  absl::StatusOr<ZipMember> OpenMember(const std::string& name) const;

 private:
  struct Handle;
  explicit ZipArchive(std::unique_ptr<Handle> handle);

  std::unique_ptr<Handle> handle_;
};

}  // namespace fedgraft
