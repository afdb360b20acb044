#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/bytes.h"
#include "common/numeric/rounding_draw.h"

// Updates as integers of the ring Z_2^b on a fixed-point grid of step 2^-f.
// Sums in the ring are exact, so the aggregate does not depend on order.

namespace fedgraft {

// True for 8, 12, 16, 20, 24, 32 and 64.
bool IsWordWidth(int word_bits);

struct RingSpec {
  int word_bits = 32;      // b: 8, 12, 16, 20, 24, 32 or 64
  int fraction_bits = 16;  // f: -30 … 62

  // The finest grid on which `max_terms` values of magnitude `range` sum
  // without wrapping: 2^(b-1) > max_terms · range · 2^f. INVALID_ARGUMENT:
  // another word width, a range or max_terms that is not positive and finite,
  // or no such grid.
  static absl::StatusOr<RingSpec> ForSum(int word_bits, double range,
                                         int max_terms);
  // Largest magnitude a single term may have so that max_terms of them fit.
  int64_t TermMax(int max_terms) const;
  double Step() const;
  uint64_t Mask() const {
    return word_bits == 64 ? ~uint64_t{0} : (uint64_t{1} << word_bits) - 1;
  }
  bool operator==(const RingSpec&) const = default;
};

struct QuantizeResult {
  std::vector<uint64_t> words;  // each below 2^b
  uint64_t saturated = 0;       // values cut to ±term_max
  // Sum of squares of (word - value), in steps², cut values included.
  double squared_error = 0;
};

// Rounds to nearest, ties to even. INVALID_ARGUMENT naming the first index if
// a value is not finite, or if `scale`, which multiplies each value first, is
// not.
absl::StatusOr<QuantizeResult> Quantize(const RingSpec& spec, int max_terms,
                                        absl::Span<const float> values,
                                        double scale);
absl::StatusOr<QuantizeResult> QuantizeDoubles(const RingSpec& spec,
                                               int max_terms,
                                               absl::Span<const double> values);
// To one of the two nearest steps at random: to the upper one with the
// probability of the fraction, so that the mean over draws is the value itself
// and the variance at most step²/4. Errors as of Quantize.
absl::StatusOr<QuantizeResult> QuantizeStochastically(
    const RingSpec& spec, int max_terms, absl::Span<const float> values,
    double scale, const RoundingDraw& draw);
// Sign-extends and multiplies by the step.
double Dequantize(const RingSpec& spec, uint64_t word);
// The same for many. REQUIRES: as many words as values.
void DequantizeWords(const RingSpec& spec, absl::Span<const uint64_t> words,
                     absl::Span<double> values);
// Sum of squares; not finite if a value is not.
double SquaredNorm(absl::Span<const float> values);
// 0 if there are none; not finite if a value is not.
float LargestMagnitude(absl::Span<const float> values);

// b-bit words, little-endian bit order, no padding between words; the last
// byte's unused bits are 0. REQUIRES, for all four: IsWordWidth(word_bits), a
// packed size of PackedBytes(word_bits, number of words), count < 2^56.
uint64_t PackedBytes(int word_bits, uint64_t count);
void PackWords(int word_bits, absl::Span<const uint64_t> words,
               absl::Span<uint8_t> out);
void UnpackWords(int word_bits, ByteSpan packed, absl::Span<uint64_t> out);
// accumulator[i] += word i, mod 2^64 (reduce mod 2^b at the end: exact).
void AddPacked(int word_bits, ByteSpan packed,
               absl::Span<uint64_t> accumulator);

}  // namespace fedgraft
