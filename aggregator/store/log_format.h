#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"

// The bytes of a log segment; all integers little-endian:
//
//   segment: header batch*
//   header:  "FGLOG\0\r\n" | u32 version | u32 salt | u64 segment number |
//            u64 first sequence | u32 crc of the bytes before
//   batch:   u32 crc of the next 20 bytes | u32 crc of the payload |
//            u32 payload size | u32 number of records | u64 first sequence |
//            payload: (u32 size | record)*
//
// CRCs are CRC-32C; those of batches start from the segment's random salt, so
// that no content, by chance or design, reads as a batch. A batch is what is
// synced together: if a batch is bad and a good one follows, then the bad one
// had been synced, so this is damage and no torn write.

namespace fedgraft {

inline constexpr uint32_t kLogVersion = 1;
inline constexpr size_t kSegmentHeaderBytes = 36;
inline constexpr size_t kBatchHeaderBytes = 24;

struct SegmentHeader {
  uint32_t salt = 0;
  uint64_t number = 0;  // from 1
  uint64_t first_sequence = 0;
};
Bytes EncodeSegmentHeader(const SegmentHeader& header);
// `bytes`: kSegmentHeaderBytes. DATA_LOSS: it is no such header. UNIMPLEMENTED:
// an intact header of another version.
absl::StatusOr<SegmentHeader> DecodeSegmentHeader(ByteSpan bytes);

struct BatchHeader {
  uint32_t payload_crc = 0;
  uint32_t payload_bytes = 0;
  uint32_t records = 0;
  uint64_t first_sequence = 0;
};
// Header and payload. REQUIRES: not empty, below 4 GiB in all.
Bytes EncodeBatch(uint32_t salt, uint64_t first_sequence,
                  const std::vector<ByteSpan>& records);
// nullopt if these kBatchHeaderBytes are no intact header.
std::optional<BatchHeader> DecodeBatchHeader(uint32_t salt, ByteSpan bytes);
// The records of an intact payload; nullopt if it is not.
std::optional<std::vector<ByteSpan>> DecodePayload(uint32_t salt,
                                                   const BatchHeader& header,
                                                   ByteSpan payload);

// "log-00000012" and back; nullopt for other names.
std::string SegmentName(uint64_t number);
std::optional<uint64_t> SegmentNumber(std::string_view name);

}  // namespace fedgraft
