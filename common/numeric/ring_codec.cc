#include "common/numeric/ring_codec.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/numeric/ring_kernels.h"
#include "common/numeric/ring_loops.h"

namespace fedgraft {
namespace {

static_assert(std::endian::native == std::endian::little,
              "packed words are copied as they lie in memory");

constexpr int kFractionBitsMin = -30;
constexpr int kFractionBitsMax = 62;

// Terms up to this size take the fast path.
constexpr int64_t kFastTermMax = int64_t{1} << 50;
// Values per block: the finite check runs one block ahead, inside the cache.
constexpr size_t kBlock = 1024;

bool AllFinite(const float* values, size_t count) {
  return BestKernels().largest_magnitude(values, count) < 0x7f800000u;
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

// Rounded, in steps; `draw` is null for the nearest.
double Rounded(double exact, const RoundingDraw* draw, size_t i) {
  if (draw == nullptr) return std::nearbyint(exact);
  const double below = std::floor(exact);
  const double chance = ring_loops::Uniform(draw->seed, draw->index + i);
  return below + (chance < exact - below ? 1.0 : 0.0);
}

template <typename T>
uint64_t QuantizeWide(const T* values, size_t count, const GridScale& grid,
                      const RoundingDraw* draw, uint64_t* words,
                      double* errors) {
  // Largest double that is not above term_max (which may have 63 bits).
  double limit = static_cast<double>(grid.term_max);
  if (limit >= 0x1p63 || static_cast<int64_t>(limit) > grid.term_max) {
    limit = std::nextafter(limit, 0.0);
  }
  uint64_t saturated = 0;
  for (size_t i = 0; i < count; ++i) {
    const double exact =
        static_cast<double>(values[i]) * grid.scale * grid.grid;
    const double rounded = Rounded(exact, draw, i);
    int64_t term;
    if (std::abs(rounded) > limit) {
      ++saturated;
      term = rounded > 0 ? grid.term_max : -grid.term_max;
    } else {
      term = static_cast<int64_t>(rounded);
    }
    words[i] = static_cast<uint64_t>(term) & grid.mask;
    errors[i] = static_cast<double>(term) - exact;
  }
  return saturated;
}

uint64_t QuantizeBlock(const float* values, size_t count, const GridScale& grid,
                       const RoundingDraw* draw, uint64_t* words,
                       double* errors) {
  const RingKernels& kernels = BestKernels();
  if (grid.term_max > kFastTermMax) {
    return QuantizeWide(values, count, grid, draw, words, errors);
  }
  return draw == nullptr
             ? kernels.quantize_floats(values, count, grid, words, errors)
             : kernels.quantize_stochastic(values, count, grid, *draw, words,
                                           errors);
}

uint64_t QuantizeBlock(const double* values, size_t count,
                       const GridScale& grid, const RoundingDraw*,
                       uint64_t* words, double* errors) {
  if (grid.term_max > kFastTermMax) {
    return QuantizeWide(values, count, grid, nullptr, words, errors);
  }
  return BestKernels().quantize_doubles(values, count, grid, words, errors);
}

double Total(const double (&lanes)[TermTotals::kLanes]) {
  double total = 0;
  for (const double lane : lanes) total += lane;
  return total;
}

// `draw`: null to round to nearest.
template <typename T>
absl::StatusOr<QuantizeResult> QuantizeValues(const RingSpec& spec,
                                              int max_terms,
                                              absl::Span<const T> values,
                                              double scale,
                                              const RoundingDraw* draw) {
  if (!std::isfinite(scale)) {
    return absl::InvalidArgumentError("the scale of an update is not finite");
  }
  const GridScale grid = {.scale = scale,
                          .grid = std::ldexp(1.0, spec.fraction_bits),
                          .term_max = spec.TermMax(max_terms),
                          .mask = spec.Mask()};
  QuantizeResult result;
  result.words.resize(values.size());
  double errors[kBlock];
  double squares[TermTotals::kLanes] = {};
  RoundingDraw block_draw = draw == nullptr ? RoundingDraw() : *draw;
  for (size_t i = 0; i < values.size(); i += kBlock) {
    const size_t count = std::min(kBlock, values.size() - i);
    const T* block = values.data() + i;
    if (!AllFinite(block, count)) return NotFinite(values, i);
    result.saturated += QuantizeBlock(block, count, grid,
                                      draw == nullptr ? nullptr : &block_draw,
                                      result.words.data() + i, errors);
    block_draw.index += count;
    BestKernels().sum_squares(errors, count, squares);
  }
  result.squared_error = Total(squares);
  return result;
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
  return QuantizeValues<float>(spec, max_terms, values, scale, nullptr);
}

absl::StatusOr<QuantizeResult> QuantizeDoubles(
    const RingSpec& spec, int max_terms, absl::Span<const double> values) {
  return QuantizeValues<double>(spec, max_terms, values, 1.0, nullptr);
}

absl::StatusOr<QuantizeResult> QuantizeStochastically(
    const RingSpec& spec, int max_terms, absl::Span<const float> values,
    double scale, const RoundingDraw& draw) {
  return QuantizeValues<float>(spec, max_terms, values, scale, &draw);
}

double Dequantize(const RingSpec& spec, uint64_t word) {
  const int unused = 64 - spec.word_bits;
  const int64_t term = static_cast<int64_t>(word << unused) >> unused;
  return static_cast<double>(term) * spec.Step();
}

void DequantizeWords(const RingSpec& spec, absl::Span<const uint64_t> words,
                     absl::Span<double> values) {
  FG_CHECK(words.size() == values.size());
  BestKernels().dequantize(spec.word_bits, spec.Step(), words.data(),
                           words.size(), values.data());
}

double SquaredNorm(absl::Span<const float> values) {
  double squares[TermTotals::kLanes] = {};
  BestKernels().sum_squares_floats(values.data(), values.size(), squares);
  return Total(squares);
}

float LargestMagnitude(absl::Span<const float> values) {
  return std::bit_cast<float>(
      BestKernels().largest_magnitude(values.data(), values.size()));
}

uint64_t PackedBytes(int word_bits, uint64_t count) {
  return (count * static_cast<uint64_t>(word_bits) + 7) / 8;
}

void PackWords(int word_bits, absl::Span<const uint64_t> words,
               absl::Span<uint8_t> out) {
  CheckPacked(word_bits, words.size(), out.size());
  BestKernels().pack(word_bits, words.data(), words.size(), out.data());
}

void UnpackWords(int word_bits, ByteSpan packed, absl::Span<uint64_t> out) {
  CheckPacked(word_bits, out.size(), packed.size());
  BestKernels().unpack(word_bits, packed.data(), out.size(), out.data());
}

void AddPacked(int word_bits, ByteSpan packed,
               absl::Span<uint64_t> accumulator) {
  CheckPacked(word_bits, accumulator.size(), packed.size());
  BestKernels().add(word_bits, packed.data(), accumulator.size(),
                    accumulator.data());
}

}  // namespace fedgraft
