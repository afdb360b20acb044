#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "aggregator/store/shard_reader.h"
#include "common/base/bytes.h"
#include "common/base/digest.h"
#include "common/numeric/ring_codec.h"

namespace fedgraft {

// The sum of updates, kept up while their chunks are opened on arrival, so that
// nobody has to read and open them again when the round closes. It is only a
// short cut: it says of which updates it is the sum, and of no others; after a
// restart, and when anything was added that did not count in the end, the
// round is summed from the spool instead. Sums in the ring are exact, so both
// come to the same bits. Memory: 4 bytes a word, from the first chunk on.
// Thread-safe.
class RunningSum {
 public:
  // Words of 20, 24 and 32 bits: their sums need as much room as the values
  // that will take their place. Narrower updates are quicker to read again.
  static bool Keeps(const RingSpec& ring);

  // REQUIRES: Keeps(ring).
  RunningSum(const RingSpec& ring, uint64_t count)
      : word_bits_(ring.word_bits), count_(count), plan_(ring, count) {}

  // The opened words of a shard (ShardPlan) of one update. From any thread.
  void Add(uint64_t shard, ByteSpan packed);
  // All shards of the update with this digest were added, and it is sound.
  void Count(const Digest& sealed_digest);

  // Ends the sum; later calls of Add do nothing. Its words as lanes of 4 bytes
  // (LanesToWords) in the memory of as many floats, if it is the sum of exactly
  // these updates; nullopt: it is not, or was taken before.
  std::optional<std::vector<float>> Take(
      const std::set<Digest>& sealed_digests);

 private:
  // Uploads that are at the same shard wait for each other, others do not.
  static constexpr size_t kStripes = 64;

  void MakeRoom();

  const int word_bits_;
  const uint64_t count_;
  const ShardPlan plan_;
  std::array<std::mutex, kStripes> stripes_;  // lanes_, shard by shard
  std::once_flag made_;
  std::vector<float> lanes_;
  std::atomic<uint64_t> shards_added_ = 0;
  std::atomic<bool> ended_ = false;
  std::mutex mutex_;
  std::set<Digest> counted_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fedgraft
