// The frames of a log segment: header, then batches. Checksums would hide the
// parser of a payload from mutations, so it also gets the bytes under a header
// that fits them.

#include "common/base/crc32c.h"
#include "aggregator/store/log_format.h"
#include "tests/fuzz/fuzz_target.h"

namespace fedgraft {
namespace {

void CheckRecords(const std::vector<ByteSpan>& records, size_t payload_bytes) {
  ++fuzz::accepted;
  size_t bytes = 0;
  for (const ByteSpan record : records) bytes += 4 + record.size();
  FG_CHECK(bytes == payload_bytes);
}

void ReadSegment(ByteSpan bytes) {
  if (bytes.size() < kSegmentHeaderBytes) return;
  const auto segment = DecodeSegmentHeader(bytes.first(kSegmentHeaderBytes));
  if (!segment.ok()) {
    fuzz::CheckRefusal(segment.status(), absl::StatusCode::kDataLoss,
                       absl::StatusCode::kUnimplemented);
    return;
  }
  bytes.remove_prefix(kSegmentHeaderBytes);
  while (bytes.size() >= kBatchHeaderBytes) {
    const auto batch =
        DecodeBatchHeader(segment->salt, bytes.first(kBatchHeaderBytes));
    bytes.remove_prefix(kBatchHeaderBytes);
    if (!batch || batch->payload_bytes > bytes.size()) return;
    const ByteSpan payload = bytes.first(batch->payload_bytes);
    const auto records = DecodePayload(segment->salt, *batch, payload);
    if (records) CheckRecords(*records, payload.size());
    bytes.remove_prefix(payload.size());
  }
}

void ReadPayload(ByteSpan payload) {
  constexpr uint32_t kSalt = 7;
  // One record, or however many the first byte says.
  for (const uint32_t records : {1u, payload.empty() ? 0u : payload[0]}) {
    const BatchHeader header = {
        .payload_crc = Crc32c(payload, kSalt),
        .payload_bytes = static_cast<uint32_t>(payload.size()),
        .records = records,
        .first_sequence = 1};
    const auto decoded = DecodePayload(kSalt, header, payload);
    if (!decoded) continue;
    FG_CHECK(decoded->size() == records);
    CheckRecords(*decoded, payload.size());
  }
}

}  // namespace
}  // namespace fedgraft

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const fedgraft::ByteSpan bytes(data, size);
  fedgraft::ReadSegment(bytes);
  fedgraft::ReadPayload(bytes);
  (void)fedgraft::SegmentNumber(fedgraft::AsText(bytes));
  return 0;
}
