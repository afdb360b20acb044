#include "aggregator/secagg/mask_removal.h"

namespace fedgraft {

void MaskRemoval::FromWords(int word_bits, uint64_t first_word,
                            absl::Span<uint64_t> sums) const {
  for (const SignedMask& one : masks_) {
    one.mask.Apply(one.sign, word_bits, first_word, sums);
  }
}

uint64_t MaskRemoval::FromWeight(uint64_t sum) const {
  for (const SignedMask& one : masks_) {
    sum = one.mask.ApplyToWeight(one.sign, sum);
  }
  return sum;
}

}  // namespace fedgraft
