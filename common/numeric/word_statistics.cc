#include "common/numeric/word_statistics.h"

#include <algorithm>
#include <iterator>
#include <numeric>

#include "common/base/check.h"
#include "common/numeric/ring_codec.h"
#include "common/numeric/ring_loops.h"

namespace fedgraft {
namespace {

// Words per block: whole bytes at every width, lanes inside the nearest cache.
constexpr size_t kBlock = 1024;

}  // namespace

WordStatistics::WordStatistics(int word_bits) : word_bits_(word_bits) {
  FG_CHECK(IsWordWidth(word_bits));
}

void WordStatistics::Add(ByteSpan packed, size_t count) {
  FG_CHECK(packed.size() == PackedBytes(word_bits_, count));
  if (word_bits_ > 32) {
    AddWide(packed, count);
    return;
  }
  const RingKernels& kernels = BestKernels();
  alignas(64) uint8_t lanes[kBlock * sizeof(uint32_t)];
  for (size_t i = 0; i < count; i += kBlock) {
    // Blocks are whole bytes at every width.
    const size_t block = std::min(kBlock, count - i);
    kernels.set_lanes(word_bits_, packed.data() + PackedBytes(word_bits_, i),
                      block, lanes);
    kernels.measure_lanes(word_bits_, lanes, block, &totals_);
  }
}

void WordStatistics::AddWide(ByteSpan packed, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const uint64_t bits = ring_loops::Load<uint64_t>(packed.data() + 8 * i);
    const int64_t term = static_cast<int64_t>(bits);
    wide_magnitude_ = std::max(wide_magnitude_, term < 0 ? 0 - bits : bits);
    wide_squares_ += static_cast<double>(term) * static_cast<double>(term);
  }
}

double WordStatistics::squares() const {
  if (word_bits_ > 32) return wide_squares_;
  return std::accumulate(std::begin(totals_.squares), std::end(totals_.squares),
                         0.0);
}

uint64_t WordStatistics::magnitude() const {
  if (word_bits_ > 32) return wide_magnitude_;
  return static_cast<uint64_t>(*std::max_element(std::begin(totals_.largest),
                                                 std::end(totals_.largest)));
}

}  // namespace fedgraft
