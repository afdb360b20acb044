#include "aggregator/rules/rule_state.h"

#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace fedgraft {
namespace {

static_assert(std::endian::native == std::endian::little,
              "values are stored as they lie in memory");

constexpr char kMagic[] = {'F', 'G', 'R', 'S'};
constexpr uint32_t kVersion = 1;

Bytes Header(int slots, uint64_t count) {
  ByteWriter writer;
  writer.Raw(ByteSpan(reinterpret_cast<const uint8_t*>(kMagic), sizeof kMagic))
      .U32(kVersion)
      .U32(static_cast<uint32_t>(slots))
      .U64(count);
  return writer.bytes();
}

}  // namespace

RuleState::RuleState(int slots, uint64_t count)
    : slots_(slots),
      count_(count),
      values_(static_cast<size_t>(slots) * count, 0) {}

absl::StatusOr<RuleState> RuleState::Decode(ByteSpan bytes, int slots,
                                            uint64_t count) {
  const Bytes header = Header(slots, count);
  RuleState state(slots, count);
  const size_t value_bytes = state.values_.size() * sizeof(float);
  if (bytes.size() != header.size() + value_bytes ||
      std::memcmp(bytes.data(), header.data(), header.size()) != 0) {
    return absl::DataLossError(absl::StrCat(
        "the rule's state: expected ", slots, " values for each of ", count,
        " parameters, got ", bytes.size(), " other bytes"));
  }
  if (value_bytes > 0) {
    std::memcpy(state.values_.data(), bytes.data() + header.size(),
                value_bytes);
  }
  return state;
}

Bytes RuleState::Encode() const {
  Bytes bytes = Header(slots_, count_);
  const auto* values = reinterpret_cast<const uint8_t*>(values_.data());
  bytes.insert(bytes.end(), values, values + values_.size() * sizeof(float));
  return bytes;
}

absl::Span<float> RuleState::Slot(int slot) {
  return absl::MakeSpan(values_).subspan(static_cast<size_t>(slot) * count_,
                                         count_);
}

}  // namespace fedgraft
