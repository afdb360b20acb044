#include "aggregator/store/running_sum.h"

#include <utility>

#include "common/base/check.h"
#include "common/numeric/ring_sum.h"

namespace fedgraft {

bool RunningSum::Keeps(const RingSpec& ring) {
  return LaneBytesOf(ring.word_bits) == sizeof(float);
}

void RunningSum::MakeRoom() {
  std::call_once(made_, [this] { lanes_.resize(count_); });
}

void RunningSum::Add(uint64_t shard, ByteSpan packed) {
  FG_CHECK(shard < plan_.shards());
  const uint64_t words = plan_.Words(shard);
  std::lock_guard lock(stripes_[shard % kStripes]);
  if (ended_) return;
  MakeRoom();
  ++shards_added_;
  AddToLanes(word_bits_, packed,
             {reinterpret_cast<uint8_t*>(lanes_.data() + plan_.Begin(shard)),
              words * sizeof(float)});
}

void RunningSum::Count(const Digest& sealed_digest) {
  std::lock_guard lock(mutex_);
  counted_.insert(sealed_digest);
}

std::optional<std::vector<float>> RunningSum::Take(
    const std::set<Digest>& sealed_digests) {
  if (ended_.exchange(true)) return std::nullopt;
  // Who saw it not ended has added by then.
  for (std::mutex& stripe : stripes_) std::lock_guard lock(stripe);
  std::vector<float> lanes = std::move(lanes_);
  std::lock_guard lock(mutex_);
  const bool is_theirs = counted_ == sealed_digests && !counted_.empty() &&
                         shards_added_ == counted_.size() * plan_.shards();
  if (!is_theirs) return std::nullopt;
  return lanes;
}

}  // namespace fedgraft
