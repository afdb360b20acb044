#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"

namespace fedgraft {

// A regular file mapped for reading. Immutable, so thread-safe; the mapping
// lives as long as the object. Whoever cuts the file meanwhile makes readers
// fail with SIGBUS: map only files that are replaced, never rewritten.
class MappedFile {
 public:
  // NOT_FOUND; INVALID_ARGUMENT: not a regular file; UNAVAILABLE: the system
  // refused. Messages name the path.
  static absl::StatusOr<MappedFile> Open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  ByteSpan bytes() const {
    return {static_cast<const uint8_t*>(address_), size_};
  }

 private:
  MappedFile(void* address, size_t size) : address_(address), size_(size) {}
  void* address_ = nullptr;
  size_t size_ = 0;
};

}  // namespace fedgraft
