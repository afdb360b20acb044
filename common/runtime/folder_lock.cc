#include "common/runtime/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace fedgraft {
namespace {

absl::Status FileError(const std::string& what, const std::string& path) {
  return absl::FailedPreconditionError(
      absl::StrCat(what, " ", path, ": ", std::strerror(errno)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<FolderLock>> FolderLock::Acquire(
    const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot make folder ", folder, ": ", error.message()));
  }
  const std::string path = folder + "/lock";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return FileError("cannot open", path);
  auto lock = std::unique_ptr<FolderLock>(new FolderLock(fd));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "another process works in ", folder, " (it holds ", path, ")"));
  }
  return lock;
}

FolderLock::~FolderLock() { close(fd_); }

absl::StatusOr<SecretBytes> ReadSecretFile(const std::string& path,
                                           size_t size_max) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return FileError("cannot read", path);
  struct stat info {};
  absl::Status status;
  SecretBytes secret;
  if (fstat(fd, &info) != 0) {
    status = FileError("cannot examine", path);
  } else if ((info.st_mode & 077) != 0) {
    status = absl::FailedPreconditionError(
        absl::StrCat(path, " can be read by others; run: chmod 600 ", path));
  } else if (info.st_size <= 0 ||
             static_cast<size_t>(info.st_size) > size_max) {
    status = absl::FailedPreconditionError(absl::StrCat(
        path, " has ", info.st_size, " bytes; expected 1 to ", size_max));
  } else {
    secret = SecretBytes(static_cast<size_t>(info.st_size));
    if (read(fd, secret.mutable_span().data(), secret.size()) !=
        static_cast<ssize_t>(secret.size())) {
      status = FileError("cannot read", path);
    }
  }
  close(fd);
  if (!status.ok()) return status;
  return secret;
}

}  // namespace fedgraft
