#include "common/numeric/update_payload.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/model/evaluation_layout.h"

namespace fedgraft {
namespace {

// "FGUP" in little-endian order.
constexpr uint32_t kMagic = 0x50554746;
constexpr uint32_t kVersion = 1;
constexpr uint64_t kCountMax = uint64_t{1} << 40;
constexpr int kMaxTermsMin = 16;

uint64_t ReadInteger(ByteSpan bytes, size_t offset, int size) {
  uint64_t value = 0;
  for (int i = 0; i < size; ++i) {
    value |= uint64_t{bytes[offset + i]} << (8 * i);
  }
  return value;
}

absl::Status Wrong(absl::string_view what, absl::string_view expected,
                   int64_t got) {
  return absl::InvalidArgumentError(absl::StrCat(
      "update head: ", what, ": expected ", expected, ", got ", got));
}

}  // namespace

Bytes EncodeUpdateHead(const UpdatePayloadHead& head) {
  ByteWriter writer;
  writer.U32(kMagic)
      .U32(kVersion)
      .U32(static_cast<uint32_t>(head.ring.word_bits))
      .U32(static_cast<uint32_t>(head.ring.fraction_bits))
      .U64(head.count)
      .U64(head.weight_word)
      .U64(head.saturated)
      .Raw(head.layout.bytes);
  FG_CHECK(writer.bytes().size() == UpdatePayloadHead::kBytes);
  return std::move(writer).Take();
}

absl::StatusOr<UpdatePayloadHead> DecodeUpdateHead(ByteSpan bytes) {
  if (bytes.size() != UpdatePayloadHead::kBytes) {
    return Wrong("length", absl::StrCat(UpdatePayloadHead::kBytes, " bytes"),
                 static_cast<int64_t>(bytes.size()));
  }
  if (const uint64_t magic = ReadInteger(bytes, 0, 4); magic != kMagic) {
    return Wrong("magic", absl::StrCat(kMagic), magic);
  }
  if (const uint64_t version = ReadInteger(bytes, 4, 4); version != kVersion) {
    return Wrong("version", absl::StrCat(kVersion), version);
  }
  UpdatePayloadHead head;
  head.ring.word_bits = static_cast<int32_t>(ReadInteger(bytes, 8, 4));
  head.ring.fraction_bits = static_cast<int32_t>(ReadInteger(bytes, 12, 4));
  head.count = ReadInteger(bytes, 16, 8);
  head.weight_word = ReadInteger(bytes, 24, 8);
  head.saturated = ReadInteger(bytes, 32, 8);
  FG_ASSIGN_OR_RETURN(head.layout, Digest::FromWire(AsText(bytes.subspan(40))));
  if (!IsWordWidth(head.ring.word_bits)) {
    return Wrong("word width", "8, 12, 16, 20, 24, 32 or 64 bits",
                 head.ring.word_bits);
  }
  if (head.ring.fraction_bits < -30 || head.ring.fraction_bits > 62) {
    return Wrong("fraction bits", "-30 to 62", head.ring.fraction_bits);
  }
  if (head.count > kCountMax) {
    return Wrong("words", absl::StrCat("at most ", kCountMax),
                 static_cast<int64_t>(head.count));
  }
  if (head.saturated > head.count) {
    return Wrong("saturated words",
                 absl::StrCat("at most the ", head.count, " words"),
                 static_cast<int64_t>(head.saturated));
  }
  return head;
}

int MaxTerms(const Plan& plan) {
  const int sites = std::max({plan.expected_sites, plan.quorum, 1});
  return std::max(kMaxTermsMin,
                  static_cast<int>(std::bit_ceil(2u * unsigned(sites))));
}

absl::StatusOr<RingSpec> TrainRing(const Plan& plan) {
  return RingSpec::ForSum(plan.update.word_bits, plan.update.range,
                          MaxTerms(plan));
}

RingSpec EvaluationRing() { return RingSpec{64, kEvaluationFractionBits}; }

double SiteWeight(const Plan& plan, uint64_t samples) {
  if (plan.update.weighting == Weighting::kUniform) return 1;
  const uint64_t cap = static_cast<uint64_t>(plan.update.weight_cap);
  return static_cast<double>(std::min(samples, cap)) / static_cast<double>(cap);
}

uint64_t WeightWord(double weight) {
  FG_CHECK(weight >= 0 && weight <= 1);
  return static_cast<uint64_t>(
      std::nearbyint(std::ldexp(weight, kWeightFractionBits)));
}

double WeightOfWord(uint64_t word) {
  constexpr uint64_t kWeight = (uint64_t{1} << kNewsBit) - 1;
  return std::ldexp(static_cast<double>(word & kWeight), -kWeightFractionBits);
}

uint64_t WithNews(uint64_t weight_word) {
  return weight_word + (uint64_t{1} << kNewsBit);
}

uint64_t NewsOfWord(uint64_t word) { return word >> kNewsBit; }

}  // namespace fedgraft
