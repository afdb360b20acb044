#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "aggregator/store/reduce.h"
#include "common/base/bytes.h"

namespace fedgraft {

// Reads and opens single chunks of contributions into a buffer of its own.
// Each worker has one. Not thread-safe.
class ShardReader {
 public:
  // The plaintext of `chunk`, valid until the next call. DATA_LOSS naming site
  // and chunk: the bytes are cut or not what was sealed; else what the file
  // answers, with the same names.
  absl::StatusOr<ByteSpan> Open(const SealedContribution& contribution,
                                uint64_t chunk);

 private:
  Bytes buffer_;
};

// How a payload of `count` words lies in the chunks of its stream.
class ShardPlan {
 public:
  ShardPlan(const RingSpec& ring, uint64_t count);

  const SealedStreamShape& shape() const { return shape_; }
  // Shards are numbered from 0; shard i lies in chunk i + 1, behind the head.
  uint64_t shards() const { return shape_.ChunkCount() - 1; }
  uint64_t Chunk(uint64_t shard) const { return shard + 1; }
  uint64_t Begin(uint64_t shard) const { return shard * words_per_shard_; }
  uint64_t Words(uint64_t shard) const;

 private:
  SealedStreamShape shape_;
  uint64_t count_;
  uint64_t words_per_shard_;
};

}  // namespace fedgraft
