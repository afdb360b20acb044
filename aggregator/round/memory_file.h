#pragma once

#include <algorithm>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// Bytes in memory, read like a file: small models and contributions, which the
// log itself holds. Thread-safe.
class MemoryFile final : public ReadableFile {
 public:
  explicit MemoryFile(std::shared_ptr<const Bytes> content)
      : content_(std::move(content)) {}

  absl::Status ReadAt(uint64_t offset, absl::Span<uint8_t> out) const override {
    if (offset > content_->size() || out.size() > content_->size() - offset) {
      return absl::OutOfRangeError(
          absl::StrCat("expected ", out.size(), " bytes from ", offset,
                       ", there are ", content_->size()));
    }
    std::copy_n(content_->begin() + static_cast<ptrdiff_t>(offset), out.size(),
                out.begin());
    return absl::OkStatus();
  }
  uint64_t size_bytes() const override { return content_->size(); }

 private:
  const std::shared_ptr<const Bytes> content_;
};

}  // namespace fedgraft
