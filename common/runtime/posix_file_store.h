#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/runtime/file_store.h"

namespace fedgraft {

// The FileStore of production: one folder of a POSIX file system.
//
// Everything it makes is for the owner only (files 0600, folders 0700). The
// last part of a path is never followed if it is a symbolic link. After a
// failed write or sync a WritableFile stays failed: the kernel may have
// dropped the pages, so a later "successful" sync would prove nothing.
//
// Thread-safe. Open files outlive the store.
class PosixFileStore : public FileStore {
 public:
  // Opens `root`, creating it (parents included) if it is missing.
  // PERMISSION_DENIED, NOT_FOUND … naming the folder and the system's reason.
  static absl::StatusOr<std::unique_ptr<PosixFileStore>> Open(
      const std::string& root);
  ~PosixFileStore() override;
  PosixFileStore(const PosixFileStore&) = delete;
  PosixFileStore& operator=(const PosixFileStore&) = delete;

  absl::StatusOr<std::unique_ptr<WritableFile>> OpenAppend(
      std::string_view path, uint64_t keep_bytes) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenOverwrite(
      std::string_view path, uint64_t size_bytes_max) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenScratch(
      std::string_view path, uint64_t size_bytes_max) override;
  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenRead(
      std::string_view path) override;
  absl::Status Rename(std::string_view from, std::string_view to) override;
  absl::Status Remove(std::string_view path) override;
  absl::StatusOr<std::vector<std::string>> List(
      std::string_view folder) override;
  absl::Status SyncFolder(std::string_view folder) override;

  const std::string& root() const { return root_; }

 private:
  PosixFileStore(std::string root, int root_fd)
      : root_(std::move(root)), root_fd_(root_fd) {}
  // Opens a file for writing with these flags beside the usual ones, making
  // it and its folders if needed, and cuts it to `size_bytes_max`. `kept`:
  // the caller will sync it.
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenToWrite(
      std::string_view path, int flags, uint64_t size_bytes_max, bool kept);
  // Makes the folders above `path`, each durable in its parent.
  absl::Status MakeParents(std::string_view path);
  absl::Status Error(int error, const std::string& action,
                     std::string_view path) const;

  std::string root_;
  int root_fd_;
};

}  // namespace fedgraft
