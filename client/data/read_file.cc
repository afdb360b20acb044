#include "client/data/read_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"

namespace fedgraft {

absl::StatusOr<Bytes> ReadDataFile(const std::string& path, uint64_t size_max) {
  // O_NONBLOCK: opening a FIFO must not hang; regular files ignore it.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    const int code = errno;
    const std::string reason = std::strerror(code);
    return code == ENOENT || code == ENOTDIR
               ? absl::NotFoundError("no such file")
               : absl::UnavailableError(absl::StrCat("cannot open: ", reason));
  }
  const absl::Cleanup closer = [fd] { close(fd); };
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError("expected a regular file");
  }
  const uint64_t size = static_cast<uint64_t>(info.st_size);
  if (size > size_max) {
    return absl::ResourceExhaustedError(
        absl::StrCat("expected at most ", size_max, " bytes, found ", size));
  }
  Bytes bytes(size);
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = read(fd, bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return absl::UnavailableError(
          absl::StrCat("cannot read: ", std::strerror(errno)));
    }
    if (got == 0) return absl::UnavailableError("shrank while being read");
    done += static_cast<size_t>(got);
  }
  return bytes;
}

}  // namespace fedgraft
