#include "aggregator/store/log_reader.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

using ReplayFn =
    std::function<absl::Status(uint64_t sequence, ByteSpan record)>;

class SegmentReader {
 public:
  SegmentReader(std::string path, std::unique_ptr<ReadableFile> file)
      : path_(std::move(path)), file_(std::move(file)) {}

  // Reads the header. False: the file was being made when the power failed.
  absl::StatusOr<bool> Open(uint64_t number, uint64_t first_sequence,
                            bool newest) {
    Bytes bytes(kSegmentHeaderBytes);
    if (size_bytes() < bytes.size()) {
      if (newest) return false;
      return Damaged(0, "it is shorter than a segment header");
    }
    FG_RETURN_IF_ERROR(file_->ReadAt(0, absl::MakeSpan(bytes)));
    const auto header = DecodeSegmentHeader(bytes);
    if (header.status().code() == absl::StatusCode::kDataLoss) {
      // Batches are written only after the header was synced.
      if (newest && size_bytes() == bytes.size()) return false;
      return Damaged(0, header.status().message());
    }
    if (!header.ok()) return Annotate(header.status(), path_);
    if (header->number != number || header->first_sequence != first_sequence) {
      return Damaged(
          0, absl::StrCat("expected segment ", number, " from record ",
                          first_sequence, ", this is segment ", header->number,
                          " from record ", header->first_sequence));
    }
    salt_ = header->salt;
    next_sequence_ = first_sequence;
    offset_ = kSegmentHeaderBytes;
    return true;
  }

  // Replays up to the end or a torn tail.
  absl::Status Replay(bool newest, const ReplayFn& replay) {
    while (offset_ < size_bytes()) {
      std::optional<BatchHeader> header;
      FG_ASSIGN_OR_RETURN(const bool intact, ReadBatch(header));
      if (!intact) return CheckTorn(newest, header);
      for (const ByteSpan record : records_) {
        FG_RETURN_IF_ERROR(replay(next_sequence_, record));
        ++next_sequence_;
      }
      offset_ += kBatchHeaderBytes + payload_.size();
    }
    return absl::OkStatus();
  }

  uint64_t size_bytes() const { return file_->size_bytes(); }
  uint64_t offset() const { return offset_; }
  uint32_t salt() const { return salt_; }
  uint64_t next_sequence() const { return next_sequence_; }

 private:
  absl::Status Damaged(uint64_t offset, absl::string_view what) const {
    return absl::DataLossError(
        absl::StrCat(path_, " is damaged at byte ", offset, ": ", what));
  }

  // False if there is no intact batch at offset_; then `header` is set if at
  // least that is intact. Otherwise records_ holds the batch.
  absl::StatusOr<bool> ReadBatch(std::optional<BatchHeader>& header) {
    const uint64_t left = size_bytes() - offset_;
    if (left < kBatchHeaderBytes) return false;
    Bytes bytes(kBatchHeaderBytes);
    FG_RETURN_IF_ERROR(file_->ReadAt(offset_, absl::MakeSpan(bytes)));
    header = DecodeBatchHeader(salt_, bytes);
    if (!header || header->payload_bytes > left - kBatchHeaderBytes) {
      return false;
    }
    payload_.resize(header->payload_bytes);
    FG_RETURN_IF_ERROR(
        file_->ReadAt(offset_ + kBatchHeaderBytes, absl::MakeSpan(payload_)));
    auto records = DecodePayload(salt_, *header, payload_);
    if (!records) return false;
    if (header->first_sequence != next_sequence_) {
      return Damaged(
          offset_, absl::StrCat("expected record ", next_sequence_, ", record ",
                                header->first_sequence, " follows"));
    }
    records_ = *std::move(records);
    return true;
  }

  // OK if what is at offset_ can be the torn last batch.
  absl::Status CheckTorn(bool newest,
                         const std::optional<BatchHeader>& header) const {
    if (!newest) return Damaged(offset_, "a later segment exists");
    const uint64_t next =
        header ? offset_ + kBatchHeaderBytes + header->payload_bytes
               : offset_ + 1;
    if (next >= size_bytes()) return absl::OkStatus();
    Bytes rest(size_bytes() - next);
    FG_RETURN_IF_ERROR(file_->ReadAt(next, absl::MakeSpan(rest)));
    for (size_t i = 0; i + kBatchHeaderBytes < rest.size(); ++i) {
      if (!IsLaterBatch(ByteSpan(rest).subspan(i))) continue;
      return Damaged(offset_,
                     absl::StrCat("expected record ", next_sequence_,
                                  ", intact ones follow at byte ", next + i));
    }
    return absl::OkStatus();
  }

  bool IsLaterBatch(ByteSpan bytes) const {
    const auto header =
        DecodeBatchHeader(salt_, bytes.first(kBatchHeaderBytes));
    if (!header || header->first_sequence <= next_sequence_) return false;
    bytes.remove_prefix(kBatchHeaderBytes);
    return header->payload_bytes <= bytes.size() &&
           DecodePayload(salt_, *header, bytes.first(header->payload_bytes))
               .has_value();
  }

  const std::string path_;
  const std::unique_ptr<ReadableFile> file_;
  uint32_t salt_ = 0;
  uint64_t next_sequence_ = 0;
  uint64_t offset_ = 0;  // of the first byte that was not replayed
  Bytes payload_;
  std::vector<ByteSpan> records_;  // in payload_
};

}  // namespace

absl::StatusOr<LogEnd> ReadLog(FileStore& files, const std::string& folder,
                               const ReplayFn& replay) {
  FG_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(folder));
  std::vector<uint64_t> numbers;
  for (const std::string& name : names) {
    if (const auto number = SegmentNumber(name)) numbers.push_back(*number);
  }
  std::sort(numbers.begin(), numbers.end());
  LogEnd end;
  for (size_t i = 0; i < numbers.size(); ++i) {
    const std::string path = absl::StrCat(folder, "/", SegmentName(numbers[i]));
    if (numbers[i] != i + 1) {
      return absl::DataLossError(absl::StrCat(
          path, " exists, but ", SegmentName(i + 1), " is missing"));
    }
    const bool newest = i + 1 == numbers.size();
    FG_ASSIGN_OR_RETURN(auto file, files.OpenRead(path));
    SegmentReader reader(path, std::move(file));
    end.segment = numbers[i];
    FG_ASSIGN_OR_RETURN(const bool opened,
                        reader.Open(end.segment, end.next_sequence, newest));
    if (opened) {
      FG_RETURN_IF_ERROR(reader.Replay(newest, replay));
      end.next_sequence = reader.next_sequence();
    }
    end.salt = reader.salt();
    end.valid_bytes = reader.offset();
    end.torn_bytes = reader.size_bytes() - reader.offset();
  }
  return end;
}

}  // namespace fedgraft
