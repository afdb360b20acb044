#include "aggregator/store/shard_reader.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

absl::Status Name(const absl::Status& status,
                  const SealedContribution& contribution, uint64_t chunk) {
  const std::string what = absl::StrCat(
      "contribution of site ", contribution.site.value, ", chunk ", chunk);
  if (absl::IsOutOfRange(status)) {
    return absl::DataLossError(
        absl::StrCat(what, ": it is cut: ", status.message()));
  }
  return Annotate(status, what);
}

}  // namespace

absl::StatusOr<ByteSpan> ShardReader::Open(
    const SealedContribution& contribution, uint64_t chunk) {
  const SealedStreamShape& shape = contribution.opener->shape();
  const uint64_t offset = shape.SealedOffset(chunk);
  const uint64_t size = shape.SealedSize(chunk);
  buffer_.resize(size);
  const auto plain = absl::MakeSpan(buffer_).subspan(0, shape.PlainSize(chunk));
  const Bytes* const memory = contribution.in_memory.get();
  absl::Status status;
  if (memory != nullptr && offset + size <= memory->size()) {
    status = contribution.opener->Open(
        chunk, ByteSpan(*memory).subspan(offset, size), plain);
  } else {
    // Opened where it lies: half the memory to go through.
    status = contribution.sealed->ReadAt(offset, absl::MakeSpan(buffer_));
    if (status.ok()) status = contribution.opener->Open(chunk, buffer_, plain);
  }
  if (!status.ok()) return Name(status, contribution, chunk);
  return ByteSpan(plain);
}

ShardPlan::ShardPlan(const RingSpec& ring, uint64_t count)
    : shape_{.head_bytes = UpdatePayloadHead::kBytes,
             .total_bytes = UpdatePayloadHead::kBytes +
                            PackedBytes(ring.word_bits, count)},
      count_(count),
      words_per_shard_(kSealedChunkBytes * 8 /
                       static_cast<uint64_t>(ring.word_bits)) {}

uint64_t ShardPlan::Words(uint64_t shard) const {
  return std::min(words_per_shard_, count_ - Begin(shard));
}

}  // namespace fedgraft
