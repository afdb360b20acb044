#include "common/numeric/ring_sum.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/numeric/ring_codec.h"
#include "common/numeric/ring_kernels.h"

namespace fedgraft {

void RingSum::Reset(int word_bits, size_t count) {
  FG_CHECK(IsWordWidth(word_bits));
  word_bits_ = word_bits;
  count_ = count;
  empty_ = true;
  lanes_.resize(count * LaneBytes(word_bits));
}

void RingSum::Add(ByteSpan packed) {
  FG_CHECK(packed.size() == PackedBytes(word_bits_, count_));
  const RingKernels& kernels = BestKernels();
  const auto add = empty_ ? kernels.set_lanes : kernels.add_lanes;
  add(word_bits_, packed.data(), count_, lanes_.data());
  empty_ = false;
}

void RingSum::Get(absl::Span<uint64_t> words) const {
  FG_CHECK(words.size() == count_);
  if (empty_) {
    std::fill(words.begin(), words.end(), 0);
    return;
  }
  BestKernels().widen_lanes(word_bits_, lanes_.data(), count_, words.data());
}

size_t LaneBytesOf(int word_bits) {
  FG_CHECK(IsWordWidth(word_bits));
  return LaneBytes(word_bits);
}

void AddToLanes(int word_bits, ByteSpan packed, absl::Span<uint8_t> lanes) {
  const size_t count = lanes.size() / LaneBytesOf(word_bits);
  FG_CHECK(packed.size() == PackedBytes(word_bits, count));
  BestKernels().add_lanes(word_bits, packed.data(), count, lanes.data());
}

void LanesToWords(int word_bits, ByteSpan lanes, absl::Span<uint64_t> words) {
  FG_CHECK(lanes.size() == words.size() * LaneBytesOf(word_bits));
  BestKernels().widen_lanes(word_bits, lanes.data(), words.size(),
                            words.data());
}

}  // namespace fedgraft
