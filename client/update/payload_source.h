#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/bytes.h"
#include "common/numeric/ring_codec.h"
#include "common/numeric/update_payload.h"

namespace fedgraft {

// What quantising did to a range of words.
struct QuantizeTotals {
  void Add(const QuantizeTotals& more) {
    saturated += more.saturated;
    squared_error += more.squared_error;
  }

  uint64_t saturated = 0;    // values that were cut
  double squared_error = 0;  // sum over the words, in units of the values²
};

// The plaintext of an update, head and packed words, made piece by piece: what
// is sealed chunk by chunk is never in memory as a whole. Copies share what the
// words are made of. Thread-safe.
class PayloadSource {
 public:
  // Packs words [begin, begin + count) into as many bytes. A pure function:
  // any range may be asked for, and again. `begin` lies on a byte's edge.
  using Pack = std::function<absl::StatusOr<QuantizeTotals>(
      uint64_t begin, uint64_t count, absl::Span<uint8_t> packed)>;
  // The words themselves, for Pack.
  using Quantize = std::function<absl::StatusOr<QuantizeResult>(
      uint64_t begin, uint64_t count)>;

  // `head` is complete.
  PayloadSource(UpdatePayloadHead head, Pack pack)
      : head_(std::move(head)), pack_(std::move(pack)) {}
  // Quantises all words now, each once and in order, and keeps them packed;
  // adds what was cut to head.saturated.
  static absl::StatusOr<PayloadSource> Packed(UpdatePayloadHead head,
                                              const Quantize& quantize);
  // Quantises when it is asked, in slices. `head`: for width and units.
  static Pack Packing(const UpdatePayloadHead& head, Quantize quantize);

  const UpdatePayloadHead& head() const { return head_; }
  uint64_t size_bytes() const {
    return UpdatePayloadHead::kBytes +
           PackedBytes(head_.ring.word_bits, head_.count);
  }
  absl::StatusOr<QuantizeTotals> PackWords(uint64_t begin, uint64_t count,
                                           absl::Span<uint8_t> packed) const {
    return pack_(begin, count, packed);
  }
  // Of all words, packing them once more.
  absl::StatusOr<QuantizeTotals> Totals() const;
  // Root mean square of what quantising changed, cut values included; 0 if
  // there are no values. `totals`: of all words.
  double ErrorRms(const QuantizeTotals& totals) const;
  // Head and words.
  absl::StatusOr<Bytes> ReadAll() const;

 private:
  UpdatePayloadHead head_;
  Pack pack_;
};

}  // namespace fedgraft
