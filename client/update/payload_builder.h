#pragma once

#include <algorithm>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/numeric/ring_codec.h"
#include "common/numeric/update_payload.h"

namespace fedgraft {

// Values per slice: its unpacked words stay in the cache until they are packed.
// A multiple of 8, so that every slice but the last ends on a byte at every
// word width.
inline constexpr size_t kSliceValues = size_t{1} << 13;

// Quantises slice by slice (`quantize(begin, count)`, in order) into a payload.
// Adds up what was cut in `head`, and what each word is off, in steps², in
// `squared_error` unless that is null.
template <typename QuantizeSlice>
absl::StatusOr<Bytes> BuildPayload(UpdatePayloadHead& head,
                                   QuantizeSlice quantize,
                                   double* squared_error = nullptr) {
  const int bits = head.ring.word_bits;
  Bytes payload(UpdatePayloadHead::kBytes + PackedBytes(bits, head.count));
  absl::Span<uint8_t> rest =
      absl::MakeSpan(payload).subspan(UpdatePayloadHead::kBytes);
  for (uint64_t begin = 0; begin < head.count; begin += kSliceValues) {
    const uint64_t count = std::min<uint64_t>(kSliceValues, head.count - begin);
    FG_ASSIGN_OR_RETURN(const QuantizeResult slice, quantize(begin, count));
    head.saturated += slice.saturated;
    if (squared_error != nullptr) *squared_error += slice.squared_error;
    const uint64_t bytes = PackedBytes(bits, count);
    PackWords(bits, slice.words, rest.subspan(0, bytes));
    rest.remove_prefix(bytes);
  }
  const Bytes encoded = EncodeUpdateHead(head);
  FG_CHECK(encoded.size() == UpdatePayloadHead::kBytes);
  std::copy(encoded.begin(), encoded.end(), payload.begin());
  return payload;
}

}  // namespace fedgraft
