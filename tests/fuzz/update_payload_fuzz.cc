// DecodeUpdateHead, and the ring words behind an accepted head as a chunk of
// the reduction reads them.

#include <algorithm>
#include <vector>

#include "common/numeric/update_payload.h"
#include "tests/fuzz/fuzz_target.h"

namespace fedgraft {
namespace {

void CheckWords(const RingSpec& ring, ByteSpan packed, uint64_t count) {
  // Whole words of these bytes, never more than the head declares.
  const uint64_t words_max =
      packed.size() * 8 / static_cast<uint64_t>(ring.word_bits);
  count = std::min(count, words_max);
  packed = packed.first(PackedBytes(ring.word_bits, count));
  std::vector<uint64_t> words(count);
  UnpackWords(ring.word_bits, packed, absl::MakeSpan(words));
  std::vector<uint64_t> sums(count);
  AddPacked(ring.word_bits, packed, absl::MakeSpan(sums));
  FG_CHECK(sums == words);
  for (const uint64_t word : words) {
    FG_CHECK((word & ~ring.Mask()) == 0);
    (void)Dequantize(ring, word);
  }
  Bytes again(packed.size());
  PackWords(ring.word_bits, words, absl::MakeSpan(again));
  // The unused bits of the last byte are the only freedom.
  if (count * static_cast<uint64_t>(ring.word_bits) % 8 == 0) {
    FG_CHECK(ByteSpan(again) == packed);
  }
}

}  // namespace
}  // namespace fedgraft

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  const ByteSpan input(data, size);
  const size_t head_bytes = std::min<size_t>(size, UpdatePayloadHead::kBytes);
  const auto head = DecodeUpdateHead(input.first(head_bytes));
  if (!head.ok()) {
    fuzz::CheckRefusal(head.status(), absl::StatusCode::kInvalidArgument);
    return 0;
  }
  ++fuzz::accepted;
  FG_CHECK(IsWordWidth(head->ring.word_bits));
  FG_CHECK(head->saturated <= head->count);
  FG_CHECK(ByteSpan(EncodeUpdateHead(*head)) == input.first(head_bytes));
  CheckWords(head->ring, input.subspan(head_bytes), head->count);
  return 0;
}
