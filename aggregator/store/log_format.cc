#include "aggregator/store/log_format.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/check.h"
#include "common/base/crc32c.h"

namespace fedgraft {
namespace {

// Found damaged by transfers that rewrite line ends, like PNG's.
constexpr std::string_view kMagic("FGLOG\0\r\n", 8);
constexpr std::string_view kNamePrefix = "log-";

uint32_t ReadU32(ByteSpan bytes, size_t offset) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8 | bytes[offset + i];
  return value;
}

uint64_t ReadU64(ByteSpan bytes, size_t offset) {
  return ReadU32(bytes, offset) | uint64_t{ReadU32(bytes, offset + 4)} << 32;
}

}  // namespace

Bytes EncodeSegmentHeader(const SegmentHeader& header) {
  ByteWriter writer;
  writer.Raw(AsBytes(kMagic))
      .U32(kLogVersion)
      .U32(header.salt)
      .U64(header.number)
      .U64(header.first_sequence);
  writer.U32(Crc32c(writer.bytes()));
  return std::move(writer).Take();
}

absl::StatusOr<SegmentHeader> DecodeSegmentHeader(ByteSpan bytes) {
  FG_CHECK(bytes.size() == kSegmentHeaderBytes);
  constexpr size_t kCrcOffset = kSegmentHeaderBytes - 4;
  if (AsText(bytes.first(kMagic.size())) != kMagic) {
    return absl::DataLossError("it does not begin as a log segment does");
  }
  if (ReadU32(bytes, kCrcOffset) != Crc32c(bytes.first(kCrcOffset))) {
    return absl::DataLossError("the checksum of its header does not fit");
  }
  if (const uint32_t version = ReadU32(bytes, 8); version != kLogVersion) {
    return absl::UnimplementedError(
        absl::StrCat("it has format version ", version,
                     ", this program reads version ", kLogVersion));
  }
  return SegmentHeader{.salt = ReadU32(bytes, 12),
                       .number = ReadU64(bytes, 16),
                       .first_sequence = ReadU64(bytes, 24)};
}

Bytes EncodeBatch(uint32_t salt, uint64_t first_sequence,
                  const std::vector<ByteSpan>& records) {
  FG_CHECK(!records.empty());
  uint64_t payload_bytes = 0;
  for (const ByteSpan record : records) payload_bytes += 4 + record.size();
  FG_CHECK(payload_bytes <= UINT32_MAX);
  Bytes batch(kBatchHeaderBytes);
  batch.reserve(kBatchHeaderBytes + payload_bytes);
  for (const ByteSpan record : records) {
    for (int shift = 0; shift < 32; shift += 8) {
      batch.push_back(static_cast<uint8_t>(record.size() >> shift));
    }
    batch.insert(batch.end(), record.begin(), record.end());
  }
  ByteWriter fields;
  fields.U32(Crc32c(ByteSpan(batch).subspan(kBatchHeaderBytes), salt))
      .U32(static_cast<uint32_t>(payload_bytes))
      .U32(static_cast<uint32_t>(records.size()))
      .U64(first_sequence);
  ByteWriter header;
  header.U32(Crc32c(fields.bytes(), salt)).Raw(fields.bytes());
  std::copy(header.bytes().begin(), header.bytes().end(), batch.begin());
  return batch;
}

std::optional<BatchHeader> DecodeBatchHeader(uint32_t salt, ByteSpan bytes) {
  FG_CHECK(bytes.size() == kBatchHeaderBytes);
  if (ReadU32(bytes, 0) != Crc32c(bytes.subspan(4), salt)) return std::nullopt;
  return BatchHeader{.payload_crc = ReadU32(bytes, 4),
                     .payload_bytes = ReadU32(bytes, 8),
                     .records = ReadU32(bytes, 12),
                     .first_sequence = ReadU64(bytes, 16)};
}

std::optional<std::vector<ByteSpan>> DecodePayload(uint32_t salt,
                                                   const BatchHeader& header,
                                                   ByteSpan payload) {
  if (payload.size() != header.payload_bytes ||
      Crc32c(payload, salt) != header.payload_crc) {
    return std::nullopt;
  }
  std::vector<ByteSpan> records;
  while (!payload.empty()) {
    if (payload.size() < 4) return std::nullopt;
    const uint32_t size = ReadU32(payload, 0);
    payload.remove_prefix(4);
    if (size > payload.size()) return std::nullopt;
    records.push_back(payload.first(size));
    payload.remove_prefix(size);
  }
  if (records.empty() || records.size() != header.records) return std::nullopt;
  return records;
}

std::string SegmentName(uint64_t number) {
  return absl::StrFormat("log-%08d", number);
}

std::optional<uint64_t> SegmentNumber(std::string_view name) {
  uint64_t number = 0;
  if (name.substr(0, kNamePrefix.size()) != kNamePrefix) return std::nullopt;
  const std::string digits(name.substr(kNamePrefix.size()));
  if (!absl::SimpleAtoi(digits, &number) || SegmentName(number) != name) {
    return std::nullopt;
  }
  return number;
}

}  // namespace fedgraft
