#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/secret.h"

namespace fedgraft {

// Keeps a second daemon out of a state folder: an advisory lock on the file
// "lock" in it, released by the destructor or the end of the process.
class FolderLock {
 public:
  // Creates the folder if it is missing. FAILED_PRECONDITION if another
  // process holds it.
  static absl::StatusOr<std::unique_ptr<FolderLock>> Acquire(
      const std::string& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_;
};

// Reads a file that holds a secret. FAILED_PRECONDITION if people other than
// its owner can read it, or it is empty or longer than `size_max`.
absl::StatusOr<SecretBytes> ReadSecretFile(const std::string& path,
                                           size_t size_max);

}  // namespace fedgraft
