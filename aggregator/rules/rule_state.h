#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/bytes.h"

namespace fedgraft {

// What a SumRule remembers from round to round: some values per parameter, in
// float32, so that what is stored is what the next round computes with.
class RuleState {
 public:
  RuleState() = default;
  // Zeros: before the first round.
  RuleState(int slots, uint64_t count);
  // DATA_LOSS: not what Encode made, or of another size.
  static absl::StatusOr<RuleState> Decode(ByteSpan bytes, int slots,
                                          uint64_t count);
  // "FGRS", version, slots, count, then the values, little-endian.
  Bytes Encode() const;

  int slots() const { return slots_; }
  absl::Span<float> Slot(int slot);

 private:
  int slots_ = 0;
  uint64_t count_ = 0;
  std::vector<float> values_;  // slot by slot
};

}  // namespace fedgraft
