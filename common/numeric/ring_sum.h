#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "common/base/bytes.h"

namespace fedgraft {

// The exact sum of packed contributions, modulo 2^b, one range of words at a
// time. Kept in the narrowest machine integers that hold a word, which wrap:
// that is what 2^b divides, so nothing is lost, and an addition moves no more
// memory than the words themselves. Order does not matter. Not thread-safe.
class RingSum {
 public:
  // Begins a sum of `count` words; what was added before is gone. REQUIRES:
  // IsWordWidth(word_bits).
  void Reset(int word_bits, size_t count);
  // REQUIRES: packed.size() == PackedBytes(word_bits, count).
  void Add(ByteSpan packed);
  // Each below 2^b; 0 if nothing was added. REQUIRES: words.size() == count.
  void Get(absl::Span<uint64_t> words) const;

 private:
  int word_bits_ = 8;
  size_t count_ = 0;
  bool empty_ = true;
  Bytes lanes_;
};

// The same in memory of the caller's, for sums of which many are kept: a lane
// of so many bytes for each word.
size_t LaneBytesOf(int word_bits);
// REQUIRES of both: LaneBytesOf(word_bits) bytes of lanes for each word.
void AddToLanes(int word_bits, ByteSpan packed, absl::Span<uint8_t> lanes);
// Each below 2^b.
void LanesToWords(int word_bits, ByteSpan lanes, absl::Span<uint64_t> words);

}  // namespace fedgraft
