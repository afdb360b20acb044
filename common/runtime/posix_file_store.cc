#include "common/runtime/posix_file_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

// Written bytes are handed to the disk in steps of this size, so that the
// final sync of a large file does not have to wait for all of it.
constexpr uint64_t kWritebackStepBytes = 8 << 20;

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&&) = delete;
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

absl::Status SystemError(int error, const std::string& action,
                         const std::string& path) {
  return absl::ErrnoToStatus(error, absl::StrCat("cannot ", action, " ", path));
}

std::string ParentOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  return std::string(slash == path.npos ? "" : path.substr(0, slash));
}

class PosixWritableFile : public WritableFile {
 public:
  PosixWritableFile(Fd fd, std::string path, uint64_t size_bytes, bool kept)
      : fd_(std::move(fd)),
        path_(std::move(path)),
        kept_(kept),
        size_bytes_(size_bytes),
        handed_over_bytes_(size_bytes) {}

  absl::Status Append(ByteSpan data) override {
    FG_RETURN_IF_ERROR(failed_);
    while (!data.empty()) {
      const ssize_t written = write(fd_.get(), data.data(), data.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return failed_ = SystemError(errno, "write", path_);
      data.remove_prefix(static_cast<size_t>(written));
      size_bytes_ += static_cast<uint64_t>(written);
    }
    StartWriteback();
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    FG_RETURN_IF_ERROR(failed_);
    while (fdatasync(fd_.get()) != 0) {
      if (errno == EINTR) continue;
      return failed_ = SystemError(errno, "sync", path_);
    }
    return absl::OkStatus();
  }

  uint64_t size_bytes() const override { return size_bytes_; }

 private:
  void StartWriteback() {
#ifdef SYNC_FILE_RANGE_WRITE
    if (!kept_ || size_bytes_ - handed_over_bytes_ < kWritebackStepBytes) {
      return;
    }
    // Only a hint: errors show in the sync.
    (void)sync_file_range(
        fd_.get(), static_cast<off64_t>(handed_over_bytes_),
        static_cast<off64_t>(size_bytes_ - handed_over_bytes_),
        SYNC_FILE_RANGE_WRITE);
    handed_over_bytes_ = size_bytes_;
#endif
  }

  const Fd fd_;
  const std::string path_;
  const bool kept_;  // will be synced
  uint64_t size_bytes_;
  uint64_t handed_over_bytes_;
  absl::Status failed_;
};

class PosixReadableFile : public ReadableFile {
 public:
  PosixReadableFile(Fd fd, std::string path, uint64_t size_bytes)
      : fd_(std::move(fd)), path_(std::move(path)), size_bytes_(size_bytes) {}

  absl::Status ReadAt(uint64_t offset, absl::Span<uint8_t> out) const override {
    while (!out.empty()) {
      const ssize_t got =
          pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return SystemError(errno, "read", path_);
      if (got == 0) {
        return absl::OutOfRangeError(absl::StrCat(path_, " ends at byte ",
                                                  offset, ", ", out.size(),
                                                  " more bytes were expected"));
      }
      out.remove_prefix(static_cast<size_t>(got));
      offset += static_cast<uint64_t>(got);
    }
    return absl::OkStatus();
  }

  uint64_t size_bytes() const override { return size_bytes_; }

 private:
  const Fd fd_;
  const std::string path_;
  const uint64_t size_bytes_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PosixFileStore>> PosixFileStore::Open(
    const std::string& root) {
  std::error_code error;
  const bool created = std::filesystem::create_directories(root, error);
  if (error) return SystemError(error.value(), "create folder", root);
  if (created && chmod(root.c_str(), 0700) != 0) {
    return SystemError(errno, "set the mode of", root);
  }
  const int fd = open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return SystemError(errno, "open folder", root);
  return std::unique_ptr<PosixFileStore>(new PosixFileStore(root, fd));
}

PosixFileStore::~PosixFileStore() { close(root_fd_); }

absl::Status PosixFileStore::Error(int error, const std::string& action,
                                   std::string_view path) const {
  return SystemError(error, action, root_ + "/" + std::string(path));
}

absl::Status PosixFileStore::MakeParents(std::string_view path) {
  for (size_t slash = path.find('/'); slash != path.npos;
       slash = path.find('/', slash + 1)) {
    const std::string folder(path.substr(0, slash));
    if (mkdirat(root_fd_, folder.c_str(), 0700) == 0) {
      FG_RETURN_IF_ERROR(SyncFolder(ParentOf(folder)));
    } else if (errno != EEXIST) {
      return Error(errno, "create folder", folder);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<WritableFile>> PosixFileStore::OpenToWrite(
    std::string_view path, int flags, uint64_t size_bytes_max, bool kept) {
  FG_RETURN_IF_ERROR(CheckPath(path));
  const std::string name(path);
  const auto open = [&] {
    return openat(root_fd_, name.c_str(),
                  O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
  };
  int opened = open();
  if (opened < 0 && errno == ENOENT) {
    FG_RETURN_IF_ERROR(MakeParents(path));
    opened = open();
  }
  Fd fd(opened);
  if (fd.get() < 0) return Error(errno, "open for writing", path);
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return Error(errno, "inspect", path);
  uint64_t size_bytes = static_cast<uint64_t>(info.st_size);
  if (size_bytes > size_bytes_max) {
    if (ftruncate(fd.get(), static_cast<off_t>(size_bytes_max)) != 0) {
      return Error(errno, "truncate", path);
    }
    size_bytes = size_bytes_max;
  }
  return std::make_unique<PosixWritableFile>(
      std::move(fd), root_ + "/" + name,
      (flags & O_APPEND) != 0 ? size_bytes : 0, kept);
}

absl::StatusOr<std::unique_ptr<WritableFile>> PosixFileStore::OpenAppend(
    std::string_view path, uint64_t keep_bytes) {
  return OpenToWrite(path, O_APPEND, keep_bytes, /*kept=*/true);
}

absl::StatusOr<std::unique_ptr<WritableFile>> PosixFileStore::OpenOverwrite(
    std::string_view path, uint64_t size_bytes_max) {
  return OpenToWrite(path, 0, size_bytes_max, /*kept=*/true);
}

absl::StatusOr<std::unique_ptr<WritableFile>> PosixFileStore::OpenScratch(
    std::string_view path, uint64_t size_bytes_max) {
  return OpenToWrite(path, 0, size_bytes_max, /*kept=*/false);
}

absl::StatusOr<std::unique_ptr<ReadableFile>> PosixFileStore::OpenRead(
    std::string_view path) {
  FG_RETURN_IF_ERROR(CheckPath(path));
  Fd fd(openat(root_fd_, std::string(path).c_str(),
               O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (fd.get() < 0) return Error(errno, "open", path);
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return Error(errno, "inspect", path);
  if (!S_ISREG(info.st_mode)) return Error(EISDIR, "open", path);
  return std::make_unique<PosixReadableFile>(
      std::move(fd), root_ + "/" + std::string(path),
      static_cast<uint64_t>(info.st_size));
}

absl::Status PosixFileStore::Rename(std::string_view from,
                                    std::string_view to) {
  FG_RETURN_IF_ERROR(CheckPath(from));
  FG_RETURN_IF_ERROR(CheckPath(to));
  FG_RETURN_IF_ERROR(MakeParents(to));
  if (renameat(root_fd_, std::string(from).c_str(), root_fd_,
               std::string(to).c_str()) != 0) {
    return Error(
        errno, absl::StrCat("rename to ", std::string(to), " the file"), from);
  }
  FG_RETURN_IF_ERROR(SyncFolder(ParentOf(to)));
  if (ParentOf(from) == ParentOf(to)) return absl::OkStatus();
  return SyncFolder(ParentOf(from));
}

absl::Status PosixFileStore::Remove(std::string_view path) {
  FG_RETURN_IF_ERROR(CheckPath(path));
  if (unlinkat(root_fd_, std::string(path).c_str(), 0) != 0) {
    return Error(errno, "remove", path);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> PosixFileStore::List(
    std::string_view folder) {
  FG_RETURN_IF_ERROR(CheckFolder(folder));
  const std::string name = folder.empty() ? "." : std::string(folder);
  Fd fd(openat(root_fd_, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::vector<std::string> names;
  if (fd.get() < 0 && errno == ENOENT) return names;
  if (fd.get() < 0) return Error(errno, "list folder", folder);
  DIR* stream = fdopendir(fd.get());
  if (stream == nullptr) return Error(errno, "list folder", folder);
  fd.Release();  // closedir closes it
  errno = 0;
  while (const dirent* entry = readdir(stream)) {
    struct stat info;
    if (fstatat(dirfd(stream), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) ==
            0 &&
        S_ISREG(info.st_mode)) {
      names.emplace_back(entry->d_name);
    }
    errno = 0;
  }
  const int error = errno;
  closedir(stream);
  if (error != 0) return Error(error, "list folder", folder);
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status PosixFileStore::SyncFolder(std::string_view folder) {
  FG_RETURN_IF_ERROR(CheckFolder(folder));
  const std::string name = folder.empty() ? "." : std::string(folder);
  Fd fd(openat(root_fd_, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0) return Error(errno, "open folder", folder);
  if (fsync(fd.get()) != 0) return Error(errno, "sync folder", folder);
  return absl::OkStatus();
}

}  // namespace fedgraft
