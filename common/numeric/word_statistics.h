#pragma once

#include <cstddef>
#include <cstdint>

#include "common/base/bytes.h"
#include "common/numeric/ring_kernels.h"

namespace fedgraft {

// Sum of squares and largest magnitude of packed words, in units of the grid.
// Not thread-safe.
class WordStatistics {
 public:
  // REQUIRES: IsWordWidth(word_bits).
  explicit WordStatistics(int word_bits);
  // REQUIRES: packed.size() == PackedBytes(word_bits, count).
  void Add(ByteSpan packed, size_t count);
  double squares() const;
  uint64_t magnitude() const;

 private:
  void AddWide(ByteSpan packed, size_t count);
  const int word_bits_;
  TermTotals totals_;
  double wide_squares_ = 0;  // 64-bit words, which no double holds
  uint64_t wide_magnitude_ = 0;
};

}  // namespace fedgraft
