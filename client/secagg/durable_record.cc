#include "client/secagg/durable_record.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"

namespace fedgraft {
namespace {

// Number and size of the content, 8 bytes each, and the checksum.
constexpr size_t kHeadBytes = 16 + 32;
// Of files; a power of two from here on, so that they seldom change theirs.
constexpr uint64_t kFileBytesMin = 4096;

Digest Checksum(ByteSpan numbers, ByteSpan content) {
  const Digest inner = Sha256(content);
  return Sha256(ByteWriter().Raw(numbers).Raw(inner.bytes).bytes());
}

uint64_t ReadU64(ByteSpan bytes) {
  uint64_t value = 0;
  for (size_t i = 8; i > 0; --i) value = value << 8 | bytes[i - 1];
  return value;
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

}  // namespace

std::string DurableRecord::SlotPath(uint64_t number) const {
  return absl::StrCat(path_, ".", number % 2);
}

absl::StatusOr<DurableRecord::Slot> DurableRecord::ReadSlot(
    uint64_t index) const {
  Slot slot;
  absl::StatusOr<Bytes> read = ReadAll(*files_, SlotPath(index));
  if (absl::IsNotFound(read.status())) return slot;
  FG_RETURN_IF_ERROR(read.status());
  const SecretBytes file{ByteSpan(*read)};
  std::fill(read->begin(), read->end(), 0);
  slot.exists = true;
  slot.size_bytes = file.size();
  if (file.size() < kHeadBytes) return slot;
  const ByteSpan numbers = file.span().first(16);
  const uint64_t size = ReadU64(numbers.subspan(8));
  if (size > file.size() - kHeadBytes) return slot;
  const ByteSpan content = file.span().subspan(kHeadBytes, size);
  const Digest expected = Checksum(numbers, content);
  const ByteSpan checksum = file.span().subspan(16, 32);
  slot.number = ReadU64(numbers);
  slot.is_valid =
      slot.number % 2 == index &&
      std::equal(checksum.begin(), checksum.end(), expected.bytes.begin());
  if (slot.is_valid) slot.content = SecretBytes(content);
  return slot;
}

absl::StatusOr<DurableRecord> DurableRecord::Open(FileStore& files,
                                                  std::string path) {
  DurableRecord record(files, std::move(path));
  FG_ASSIGN_OR_RETURN(Slot even, record.ReadSlot(0));
  FG_ASSIGN_OR_RETURN(Slot odd, record.ReadSlot(1));
  if (!even.exists && !odd.exists) return record;
  // Names that a process left which died before it had synced them.
  FG_RETURN_IF_ERROR(files.SyncFolder(FolderOf(record.path_)));
  // The even one is there before anything is: what a failure left of the first
  // Write is nothing.
  if (!odd.exists) return record;
  if (!even.is_valid && !odd.is_valid) {
    return absl::DataLossError(absl::StrCat(record.path_, " is damaged"));
  }
  const bool is_even =
      even.is_valid && (!odd.is_valid || even.number > odd.number);
  record.size_bytes_ = std::max(even.size_bytes, odd.size_bytes);
  record.number_ = is_even ? even.number : odd.number;
  record.content_ = std::move(is_even ? even.content : odd.content);
  return record;
}

absl::Status DurableRecord::Remove(FileStore& files, const std::string& path) {
  for (const char* slot : {".0", ".1"}) {
    const absl::Status removed = files.Remove(path + slot);
    if (!removed.ok() && !absl::IsNotFound(removed)) return removed;
  }
  return files.SyncFolder(FolderOf(path));
}

absl::Status DurableRecord::WriteSlot(uint64_t number, ByteSpan content) {
  const Bytes numbers = ByteWriter().U64(number).U64(content.size()).bytes();
  SecretBytes file(size_bytes_);
  const absl::Span<uint8_t> out = file.mutable_span();
  const Digest checksum = Checksum(numbers, content);
  std::copy(numbers.begin(), numbers.end(), out.begin());
  std::copy(checksum.bytes.begin(), checksum.bytes.end(), out.begin() + 16);
  std::copy(content.begin(), content.end(), out.begin() + kHeadBytes);
  FG_ASSIGN_OR_RETURN(const auto writer,
                      files_->OpenOverwrite(SlotPath(number), size_bytes_));
  FG_RETURN_IF_ERROR(writer->Append(file.span()));
  return writer->Sync();
}

absl::Status DurableRecord::Write(ByteSpan content) {
  size_bytes_ =
      std::max({size_bytes_, kFileBytesMin,
                std::bit_ceil(uint64_t{content.size()} + kHeadBytes)});
  if (number_ == 0) {
    FG_RETURN_IF_ERROR(WriteSlot(0, {}));
    FG_RETURN_IF_ERROR(files_->SyncFolder(FolderOf(path_)));
    FG_RETURN_IF_ERROR(WriteSlot(1, content));
    FG_RETURN_IF_ERROR(files_->SyncFolder(FolderOf(path_)));
  } else {
    FG_RETURN_IF_ERROR(WriteSlot(number_ + 1, content));
  }
  ++number_;
  content_ = SecretBytes(content);
  return absl::OkStatus();
}

}  // namespace fedgraft
