#include "common/numeric/ring_codec.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"

namespace fedgraft {
namespace {

static_assert(std::endian::native == std::endian::little,
              "packed words are copied as they lie in memory");

constexpr int kFractionBitsMin = -30;
constexpr int kFractionBitsMax = 62;

// Adding it to a double below 2^51 in magnitude rounds that to the nearest
// integer, ties to even, and leaves the integer in the low bits.
constexpr double kRounder = 0x1.8p52;
// Terms up to this size take the fast path that relies on kRounder.
constexpr int64_t kFastTermMax = int64_t{1} << 50;
// Values per block: the finite check runs one block ahead, inside the cache.
constexpr size_t kBlock = 4096;

bool AllFinite(const float* values, size_t count) {
  uint32_t largest = 0;
  for (size_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, values + i, sizeof(bits));
    largest = std::max(largest, bits & 0x7fffffffu);
  }
  return largest < 0x7f800000u;
}

bool AllFinite(const double* values, size_t count) {
  bool finite = true;
  for (size_t i = 0; i < count; ++i) finite &= std::isfinite(values[i]);
  return finite;
}

template <typename T>
absl::Status NotFinite(absl::Span<const T> values, size_t from) {
  while (std::isfinite(values[from])) ++from;
  return absl::InvalidArgumentError(
      absl::StrCat("value ", from, " of ", values.size(), " is ",
                   std::isnan(values[from]) ? "not a number" : "infinite",
                   "; only finite values can be quantised"));
}

template <typename T>
uint64_t QuantizeFast(const T* values, size_t count, double scale, double grid,
                      int64_t term_max, uint64_t mask, uint64_t* words) {
  const double limit = static_cast<double>(term_max);
  const uint64_t rounder_bits = std::bit_cast<uint64_t>(kRounder);
  uint64_t saturated = 0;
  for (size_t i = 0; i < count; ++i) {
    double x = static_cast<double>(values[i]) * scale * grid;
    // One step beyond the limit is enough to see that it is exceeded.
    x = std::min(std::max(x, -limit - 1), limit + 1);
    const double rounded = (x + kRounder) - kRounder;
    saturated += std::abs(rounded) > limit ? 1 : 0;
    const double term = std::min(std::max(rounded, -limit), limit);
    words[i] = (std::bit_cast<uint64_t>(term + kRounder) - rounder_bits) & mask;
  }
  return saturated;
}

template <typename T>
uint64_t QuantizeWide(const T* values, size_t count, double scale, double grid,
                      int64_t term_max, uint64_t mask, uint64_t* words) {
  // Largest double that is not above term_max (which may have 63 bits).
  double limit = static_cast<double>(term_max);
  if (limit >= 0x1p63 || static_cast<int64_t>(limit) > term_max) {
    limit = std::nextafter(limit, 0.0);
  }
  uint64_t saturated = 0;
  for (size_t i = 0; i < count; ++i) {
    const double rounded =
        std::nearbyint(static_cast<double>(values[i]) * scale * grid);
    int64_t term;
    if (std::abs(rounded) > limit) {
      ++saturated;
      term = rounded > 0 ? term_max : -term_max;
    } else {
      term = static_cast<int64_t>(rounded);
    }
    words[i] = static_cast<uint64_t>(term) & mask;
  }
  return saturated;
}

template <typename T>
absl::StatusOr<QuantizeResult> QuantizeValues(const RingSpec& spec,
                                              int max_terms,
                                              absl::Span<const T> values,
                                              double scale) {
  if (!std::isfinite(scale)) {
    return absl::InvalidArgumentError("the scale of an update is not finite");
  }
  const int64_t term_max = spec.TermMax(max_terms);
  const double grid = std::ldexp(1.0, spec.fraction_bits);
  QuantizeResult result;
  result.words.resize(values.size());
  for (size_t i = 0; i < values.size(); i += kBlock) {
    const size_t count = std::min(kBlock, values.size() - i);
    const T* block = values.data() + i;
    uint64_t* words = result.words.data() + i;
    if (!AllFinite(block, count)) return NotFinite(values, i);
    result.saturated += term_max <= kFastTermMax
                            ? QuantizeFast(block, count, scale, grid, term_max,
                                           spec.Mask(), words)
                            : QuantizeWide(block, count, scale, grid, term_max,
                                           spec.Mask(), words);
  }
  return result;
}

// Words that are whole machine integers: loops that vectorise.
template <typename T>
void PackWhole(const uint64_t* __restrict words, size_t count,
               uint8_t* __restrict out) {
  for (size_t i = 0; i < count; ++i) {
    const T word = static_cast<T>(words[i]);
    std::memcpy(out + i * sizeof(T), &word, sizeof(T));
  }
}

template <typename T>
void UnpackWhole(const uint8_t* __restrict packed, size_t count,
                 uint64_t* __restrict out) {
  for (size_t i = 0; i < count; ++i) {
    T word;
    std::memcpy(&word, packed + i * sizeof(T), sizeof(T));
    out[i] = word;
  }
}

template <typename T>
void AddWhole(const uint8_t* __restrict packed, size_t count,
              uint64_t* __restrict accumulator) {
  for (size_t i = 0; i < count; ++i) {
    T word;
    std::memcpy(&word, packed + i * sizeof(T), sizeof(T));
    accumulator[i] += word;
  }
}

// Calls `use` with a value of the unsigned integer of that many bits; false
// for widths that are not whole machine integers.
template <typename Use>
bool WithWholeWord(int word_bits, Use use) {
  switch (word_bits) {
    case 8:
      use(uint8_t{});
      return true;
    case 16:
      use(uint16_t{});
      return true;
    case 32:
      use(uint32_t{});
      return true;
    case 64:
      use(uint64_t{});
      return true;
    default:
      return false;
  }
}

// Reads words of 12, 20 and 24 bits, in order.
template <typename Use>
void ForEachOddWord(int word_bits, ByteSpan packed, size_t count, Use use) {
  const uint64_t mask = (uint64_t{1} << word_bits) - 1;
  uint64_t buffer = 0;
  int filled = 0;
  size_t next = 0;
  for (size_t i = 0; i < count; ++i) {
    while (filled < word_bits) {
      buffer |= uint64_t{packed[next++]} << filled;
      filled += 8;
    }
    use(i, buffer & mask);
    buffer >>= word_bits;
    filled -= word_bits;
  }
}

void CheckPacked(int word_bits, size_t words, size_t bytes) {
  FG_CHECK(IsWordWidth(word_bits));
  FG_CHECK(bytes == PackedBytes(word_bits, words));
}

}  // namespace

bool IsWordWidth(int word_bits) {
  switch (word_bits) {
    case 8:
    case 12:
    case 16:
    case 20:
    case 24:
    case 32:
    case 64:
      return true;
    default:
      return false;
  }
}

absl::StatusOr<RingSpec> RingSpec::ForSum(int word_bits, double range,
                                          int max_terms) {
  if (!IsWordWidth(word_bits)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "word_bits is one of 8, 12, 16, 20, 24, 32, 64, not ", word_bits));
  }
  if (!std::isfinite(range) || !(range > 0) || max_terms < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a sum needs a positive range and at least one term, got ",
                     range, " and ", max_terms));
  }
  const double capacity = std::ldexp(1.0, word_bits - 1);
  for (int f = kFractionBitsMax; f >= kFractionBitsMin; --f) {
    if (capacity > std::ldexp(max_terms * range, f)) {
      return RingSpec{word_bits, f};
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("a sum of ", max_terms, " terms up to ", range,
                   " does not fit into words of ", word_bits, " bits"));
}

int64_t RingSpec::TermMax(int max_terms) const {
  FG_CHECK(IsWordWidth(word_bits) && max_terms >= 1);
  const int64_t sum_max = static_cast<int64_t>(Mask() >> 1);
  return sum_max / max_terms;
}

double RingSpec::Step() const { return std::ldexp(1.0, -fraction_bits); }

absl::StatusOr<QuantizeResult> Quantize(const RingSpec& spec, int max_terms,
                                        absl::Span<const float> values,
                                        double scale) {
  return QuantizeValues<float>(spec, max_terms, values, scale);
}

absl::StatusOr<QuantizeResult> QuantizeDoubles(
    const RingSpec& spec, int max_terms, absl::Span<const double> values) {
  return QuantizeValues<double>(spec, max_terms, values, 1.0);
}

double Dequantize(const RingSpec& spec, uint64_t word) {
  const int unused = 64 - spec.word_bits;
  const int64_t term = static_cast<int64_t>(word << unused) >> unused;
  return static_cast<double>(term) * spec.Step();
}

uint64_t PackedBytes(int word_bits, uint64_t count) {
  return (count * static_cast<uint64_t>(word_bits) + 7) / 8;
}

void PackWords(int word_bits, absl::Span<const uint64_t> words,
               absl::Span<uint8_t> out) {
  CheckPacked(word_bits, words.size(), out.size());
  const auto whole = [&](auto word) {
    PackWhole<decltype(word)>(words.data(), words.size(), out.data());
  };
  if (WithWholeWord(word_bits, whole)) return;
  const uint64_t mask = (uint64_t{1} << word_bits) - 1;
  uint64_t buffer = 0;
  int filled = 0;
  size_t next = 0;
  for (uint64_t word : words) {
    buffer |= (word & mask) << filled;
    filled += word_bits;
    for (; filled >= 8; filled -= 8, buffer >>= 8) {
      out[next++] = static_cast<uint8_t>(buffer);
    }
  }
  if (filled > 0) out[next] = static_cast<uint8_t>(buffer);
}

void UnpackWords(int word_bits, ByteSpan packed, absl::Span<uint64_t> out) {
  CheckPacked(word_bits, out.size(), packed.size());
  const auto whole = [&](auto word) {
    UnpackWhole<decltype(word)>(packed.data(), out.size(), out.data());
  };
  if (WithWholeWord(word_bits, whole)) return;
  ForEachOddWord(word_bits, packed, out.size(),
                 [&out](size_t i, uint64_t word) { out[i] = word; });
}

void AddPacked(int word_bits, ByteSpan packed,
               absl::Span<uint64_t> accumulator) {
  CheckPacked(word_bits, accumulator.size(), packed.size());
  const auto whole = [&](auto word) {
    AddWhole<decltype(word)>(packed.data(), accumulator.size(),
                             accumulator.data());
  };
  if (WithWholeWord(word_bits, whole)) return;
  ForEachOddWord(
      word_bits, packed, accumulator.size(),
      [&accumulator](size_t i, uint64_t word) { accumulator[i] += word; });
}

}  // namespace fedgraft
