#include "client/update/payload_source.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "common/base/check.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

// Values per slice: its unpacked words stay in the cache until they are packed.
// A multiple of 8, so that every slice but the last ends on a byte at every
// word width.
constexpr uint64_t kSliceValues = uint64_t{1} << 13;

}  // namespace

PayloadSource::Pack PayloadSource::Packing(const UpdatePayloadHead& head,
                                           Quantize quantize) {
  const double unit = head.ring.Step() / WeightOfWord(head.weight_word);
  return [word_bits = head.ring.word_bits, unit,
          quantize = std::move(quantize)](
             uint64_t begin, uint64_t count,
             absl::Span<uint8_t> packed) -> absl::StatusOr<QuantizeTotals> {
    QuantizeTotals totals;
    while (count > 0) {
      const uint64_t words = std::min(kSliceValues, count);
      FG_ASSIGN_OR_RETURN(const QuantizeResult slice, quantize(begin, words));
      totals.Add({slice.saturated, slice.squared_error * unit * unit});
      const uint64_t bytes = PackedBytes(word_bits, words);
      fedgraft::PackWords(word_bits, slice.words, packed.first(bytes));
      packed.remove_prefix(bytes);
      begin += words;
      count -= words;
    }
    return totals;
  };
}

absl::StatusOr<PayloadSource> PayloadSource::Packed(UpdatePayloadHead head,
                                                    const Quantize& quantize) {
  const int bits = head.ring.word_bits;
  auto bytes = std::make_shared<Bytes>(PackedBytes(bits, head.count));
  FG_ASSIGN_OR_RETURN(
      const QuantizeTotals all,
      Packing(head, quantize)(0, head.count, absl::MakeSpan(*bytes)));
  head.saturated += all.saturated;
  // What was cut and lost is told once, with the first word.
  auto copy =
      [bits, all, bytes = std::shared_ptr<const Bytes>(bytes)](
          uint64_t begin, uint64_t count,
          absl::Span<uint8_t> packed) -> absl::StatusOr<QuantizeTotals> {
    FG_CHECK(packed.size() == PackedBytes(bits, count));
    std::copy_n(
        bytes->begin() + static_cast<ptrdiff_t>(PackedBytes(bits, begin)),
        packed.size(), packed.begin());
    return begin == 0 ? all : QuantizeTotals();
  };
  return PayloadSource(std::move(head), std::move(copy));
}

absl::StatusOr<QuantizeTotals> PayloadSource::Totals() const {
  Bytes packed(
      PackedBytes(head_.ring.word_bits, std::min(kSliceValues, head_.count)));
  QuantizeTotals totals;
  for (uint64_t begin = 0; begin < head_.count; begin += kSliceValues) {
    const uint64_t words = std::min(kSliceValues, head_.count - begin);
    FG_ASSIGN_OR_RETURN(const QuantizeTotals slice,
                        pack_(begin, words,
                              absl::MakeSpan(packed).first(
                                  PackedBytes(head_.ring.word_bits, words))));
    totals.Add(slice);
  }
  return totals;
}

double PayloadSource::ErrorRms(const QuantizeTotals& totals) const {
  if (head_.count == 0) return 0;
  return std::sqrt(totals.squared_error / static_cast<double>(head_.count));
}

absl::StatusOr<Bytes> PayloadSource::ReadAll() const {
  Bytes payload(size_bytes());
  const Bytes encoded = EncodeUpdateHead(head_);
  std::copy(encoded.begin(), encoded.end(), payload.begin());
  FG_RETURN_IF_ERROR(
      pack_(0, head_.count,
            absl::MakeSpan(payload).subspan(UpdatePayloadHead::kBytes))
          .status());
  return payload;
}

}  // namespace fedgraft
