#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "common/secagg/ring_mask.h"

namespace fedgraft {

// Takes the masks out of a sum over all survivors, and out of nothing less:
// the masks between survivors are left to cancel. Immutable and thread-safe.
class MaskRemoval {
 public:
  explicit MaskRemoval(std::vector<SignedMask> masks)
      : masks_(std::move(masks)) {}

  // Of sums of words from `first_word` on, mod 2^64, see RingMask::Apply.
  void FromWords(int word_bits, uint64_t first_word,
                 absl::Span<uint64_t> sums) const;
  // Of the sum of weights.
  uint64_t FromWeight(uint64_t sum) const;

 private:
  std::vector<SignedMask> masks_;
};

}  // namespace fedgraft
