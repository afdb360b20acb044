#pragma once

#include <cstddef>
#include <cstdint>

#include "common/numeric/rounding_draw.h"

// The inner loops of ring_codec.h and ring_sum.h, once for each instruction set
// that the processor may have. All of them give the same bits: integers wrap,
// and floating point is computed value by value in one order without fused
// operations. Callers check sizes; there is nothing to call here from outside
// of common/numeric.

namespace fedgraft {

enum class KernelLevel { kPortable, kAvx2, kAvx512 };

// How values become words.
struct GridScale {
  double scale = 1;  // multiplies each value first
  double grid = 1;   // steps per unit, a power of two
  int64_t term_max = 0;
  uint64_t mask = 0;  // of a word
};

// What the words of one contribution amount to, in units of the grid. Which
// term goes to which lane is fixed, so the sums do not vary.
struct TermTotals {
  static constexpr size_t kLanes = 8;
  double squares[kLanes] = {};
  double largest[kLanes] = {};  // magnitudes, exact up to 2^53
};

// A lane is the narrowest machine integer that holds a word: 1, 2, 2, 4, 4, 4
// or 8 bytes for 8, 12, 16, 20, 24, 32 and 64 bits. Lanes wrap, which is exact
// modulo 2^b.
constexpr size_t LaneBytes(int word_bits) {
  return word_bits <= 8 ? 1 : word_bits <= 16 ? 2 : word_bits <= 32 ? 4 : 8;
}

// `count` words each; pointers need no alignment and may not overlap.
struct RingKernels {
  void (*pack)(int word_bits, const uint64_t* words, size_t count,
               uint8_t* packed);
  void (*unpack)(int word_bits, const uint8_t* packed, size_t count,
                 uint64_t* words);
  // words[i] += word i, mod 2^64.
  void (*add)(int word_bits, const uint8_t* packed, size_t count,
              uint64_t* words);
  // lanes[i] = word i, and lanes[i] += word i.
  void (*set_lanes)(int word_bits, const uint8_t* packed, size_t count,
                    uint8_t* lanes);
  void (*add_lanes)(int word_bits, const uint8_t* packed, size_t count,
                    uint8_t* lanes);
  // words[i] = lane i mod 2^b.
  void (*widen_lanes)(int word_bits, const uint8_t* lanes, size_t count,
                      uint64_t* words);
  // Adds `count` lanes, a multiple of TermTotals::kLanes but for the last call,
  // taken as signed words. REQUIRES: word_bits <= 32.
  void (*measure_lanes)(int word_bits, const uint8_t* lanes, size_t count,
                        TermTotals* totals);

  // To nearest, ties to even; returns how many were cut to ±term_max. errors[i]
  // is what the word is off, in steps. REQUIRES: term_max <= 2^50.
  uint64_t (*quantize_floats)(const float* values, size_t count,
                              const GridScale& grid, uint64_t* words,
                              double* errors);
  uint64_t (*quantize_doubles)(const double* values, size_t count,
                               const GridScale& grid, uint64_t* words,
                               double* errors);
  // Up with the probability of the fraction, so right on average.
  uint64_t (*quantize_stochastic)(const float* values, size_t count,
                                  const GridScale& grid,
                                  const RoundingDraw& draw, uint64_t* words,
                                  double* errors);
  void (*dequantize)(int word_bits, double step, const uint64_t* words,
                     size_t count, double* values);
  // Added to totals[i % kLanes].
  void (*sum_squares)(const double* values, size_t count, double* totals);
  void (*sum_squares_floats)(const float* values, size_t count, double* totals);
  // The bits of the largest value without its sign; 0 if there are none.
  uint32_t (*largest_magnitude)(const float* values, size_t count);
};

// Whether this processor (and this build) has it.
bool HasKernels(KernelLevel level);
// REQUIRES: HasKernels(level).
const RingKernels& KernelsOf(KernelLevel level);
// Of the highest level there is.
const RingKernels& BestKernels();

}  // namespace fedgraft
