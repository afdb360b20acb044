#include "common/runtime/file_digest.h"

#include <algorithm>

#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"

namespace fedgraft {
namespace {

constexpr size_t kReadBytes = size_t{256} << 10;

}  // namespace

absl::StatusOr<Digest> DigestOfFile(const ReadableFile& file) {
  Sha256Hasher hasher;
  Bytes piece(std::min<uint64_t>(kReadBytes, file.size_bytes()));
  for (uint64_t offset = 0; offset < file.size_bytes();) {
    const auto part = absl::MakeSpan(piece).first(
        std::min<uint64_t>(piece.size(), file.size_bytes() - offset));
    FG_RETURN_IF_ERROR(file.ReadAt(offset, part));
    hasher.Update(part);
    offset += part.size();
  }
  return hasher.Finish();
}

}  // namespace fedgraft
