#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "common/numeric/ring_kernels.h"

// The loops behind ring_kernels.h as plain C++. Each level inlines them into
// functions of its own instruction set, where the compiler makes them vector
// code: hence always_inline, and no lambda or library call inside.

#define FG_LOOP inline __attribute__((always_inline))

namespace fedgraft::ring_loops {

template <typename T>
FG_LOOP T Load(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

template <typename T>
FG_LOOP void Store(uint8_t* to, T value) {
  std::memcpy(to, &value, sizeof(value));
}

template <size_t kBytes>
FG_LOOP uint64_t LoadBytes(const uint8_t* from) {
  uint64_t value = 0;
  std::memcpy(&value, from, kBytes);
  return value;
}

// Out is uint64_t for words, else the type of a lane.
template <typename Out, bool kAdd>
FG_LOOP void Put(uint8_t* out, size_t i, uint64_t word) {
  uint8_t* const at = out + i * sizeof(Out);
  const Out value = static_cast<Out>(word);
  Store<Out>(at, kAdd ? static_cast<Out>(Load<Out>(at) + value) : value);
}

// Words that are whole machine integers.
template <typename Word, typename Out, bool kAdd>
FG_LOOP void WholeWords(const uint8_t* __restrict packed, size_t count,
                        uint8_t* __restrict out) {
  for (size_t i = 0; i < count; ++i) {
    Put<Out, kAdd>(out, i, Load<Word>(packed + i * sizeof(Word)));
  }
}

// Words of 12, 20 and 24 bits: two at a time are whole bytes.
template <int kBits, typename Out, bool kAdd>
FG_LOOP void OddWords(const uint8_t* __restrict packed, size_t count,
                      uint8_t* __restrict out) {
  constexpr uint64_t kMask = (uint64_t{1} << kBits) - 1;
  constexpr size_t kPairBytes = kBits / 4;
  size_t i = 0;
  for (; i + 2 <= count; i += 2, packed += kPairBytes) {
    const uint64_t pair = LoadBytes<kPairBytes>(packed);
    Put<Out, kAdd>(out, i, pair & kMask);
    Put<Out, kAdd>(out, i + 1, pair >> kBits);
  }
  if (i < count) {
    Put<Out, kAdd>(out, i, LoadBytes<(kBits + 7) / 8>(packed) & kMask);
  }
}

template <typename Word>
FG_LOOP void PackWhole(const uint64_t* __restrict words, size_t count,
                       uint8_t* __restrict packed) {
  for (size_t i = 0; i < count; ++i) {
    Store<Word>(packed + i * sizeof(Word), static_cast<Word>(words[i]));
  }
}

template <int kBits>
FG_LOOP void PackOdd(const uint64_t* __restrict words, size_t count,
                     uint8_t* __restrict packed) {
  constexpr uint64_t kMask = (uint64_t{1} << kBits) - 1;
  constexpr size_t kPairBytes = kBits / 4;
  size_t i = 0;
  for (; i + 2 <= count; i += 2, packed += kPairBytes) {
    const uint64_t pair = (words[i] & kMask) | (words[i + 1] & kMask) << kBits;
    std::memcpy(packed, &pair, kPairBytes);
  }
  if (i < count) {
    const uint64_t word = words[i] & kMask;
    std::memcpy(packed, &word, (kBits + 7) / 8);
  }
}

template <typename Lane>
FG_LOOP void WidenLanes(const uint8_t* __restrict lanes, size_t count,
                        uint64_t mask, uint64_t* __restrict words) {
  for (size_t i = 0; i < count; ++i) {
    words[i] = Load<Lane>(lanes + i * sizeof(Lane)) & mask;
  }
}

// `unused`: bits of a lane above the word. Terms of at most 32 bits are exact
// doubles.
template <typename Lane, typename Signed>
FG_LOOP void MeasureLanes(int unused, const uint8_t* lanes, size_t count,
                          TermTotals* totals) {
  constexpr size_t kLanes = TermTotals::kLanes;
  double squares[kLanes], largest[kLanes];
  std::memcpy(squares, totals->squares, sizeof(squares));
  std::memcpy(largest, totals->largest, sizeof(largest));
  const uint8_t* at = lanes;
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes, at += kLanes * sizeof(Lane)) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const Lane shifted =
          static_cast<Lane>(Load<Lane>(at + lane * sizeof(Lane)) << unused);
      const int32_t whole = static_cast<Signed>(shifted) >> unused;
      const double term = whole;
      const double magnitude = term < 0 ? -term : term;
      largest[lane] = magnitude > largest[lane] ? magnitude : largest[lane];
      squares[lane] += term * term;
    }
  }
  for (size_t lane = 0; i < count; ++i, ++lane, at += sizeof(Lane)) {
    const Lane shifted = static_cast<Lane>(Load<Lane>(at) << unused);
    const double term = static_cast<Signed>(shifted) >> unused;
    const double magnitude = term < 0 ? -term : term;
    largest[lane] = magnitude > largest[lane] ? magnitude : largest[lane];
    squares[lane] += term * term;
  }
  std::memcpy(totals->squares, squares, sizeof(squares));
  std::memcpy(totals->largest, largest, sizeof(largest));
}

// Adding it to a double below 2^51 in magnitude rounds that to the nearest
// integer, ties to even, and leaves the integer in the low bits.
inline constexpr double kRounder = 0x1.8p52;

template <typename T>
FG_LOOP T Bits(double value) {
  T bits;
  static_assert(sizeof(bits) == sizeof(value));
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// Uniform in [0, 1) with 52 bits: SplitMix64 at a position.
FG_LOOP double Uniform(uint64_t seed, uint64_t index) {
  uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  z ^= z >> 31;
  const uint64_t bits = z >> 12 | 0x3ff0000000000000;
  double value;
  std::memcpy(&value, &bits, sizeof(value));
  return value - 1.0;
}

template <typename T, bool kStochastic>
FG_LOOP uint64_t Quantize(const T* __restrict values, size_t count,
                          const GridScale& grid, const RoundingDraw& draw,
                          uint64_t* __restrict words,
                          double* __restrict errors) {
  const double limit = static_cast<double>(grid.term_max);
  const double scale = grid.scale, steps = grid.grid;
  const uint64_t mask = grid.mask, seed = draw.seed, first = draw.index;
  const uint64_t rounder_bits = Bits<uint64_t>(kRounder);
  uint64_t saturated = 0;
  for (size_t i = 0; i < count; ++i) {
    const double exact = static_cast<double>(values[i]) * scale * steps;
    // One step beyond the limit is enough to see that it is exceeded.
    double x = exact > -limit - 1 ? exact : -limit - 1;
    x = x < limit + 1 ? x : limit + 1;
    double rounded = (x + kRounder) - kRounder;
    if constexpr (kStochastic) {
      const double below = rounded - (rounded > x ? 1.0 : 0.0);
      rounded = below + (Uniform(seed, first + i) < x - below ? 1.0 : 0.0);
    }
    double term = rounded > -limit ? rounded : -limit;
    term = term < limit ? term : limit;
    saturated += term != rounded ? 1 : 0;
    words[i] = (Bits<uint64_t>(term + kRounder) - rounder_bits) & mask;
    errors[i] = term - exact;
  }
  return saturated;
}

template <typename T>
FG_LOOP void SumSquares(const T* values, size_t count, double* totals) {
  constexpr size_t kLanes = TermTotals::kLanes;
  double sums[kLanes];
  std::memcpy(sums, totals, sizeof(sums));
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const double value = static_cast<double>(values[i + lane]);
      sums[lane] += value * value;
    }
  }
  for (size_t lane = 0; i < count; ++i, ++lane) {
    const double value = static_cast<double>(values[i]);
    sums[lane] += value * value;
  }
  std::memcpy(totals, sums, sizeof(sums));
}

// As bits without the sign, which order magnitudes: infinity and NaN are above
// every finite one.
FG_LOOP uint32_t LargestBits(const float* values, size_t count) {
  uint32_t largest = 0;
  for (size_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, values + i, sizeof(bits));
    bits &= 0x7fffffffu;
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

FG_LOOP void DequantizeNarrow(int word_bits, double step,
                              const uint64_t* __restrict words, size_t count,
                              double* __restrict values) {
  const int unused = 32 - word_bits;
  for (size_t i = 0; i < count; ++i) {
    const uint32_t shifted = static_cast<uint32_t>(words[i]) << unused;
    values[i] =
        static_cast<double>(static_cast<int32_t>(shifted) >> unused) * step;
  }
}

FG_LOOP void DequantizeWide(double step, const uint64_t* __restrict words,
                            size_t count, double* __restrict values) {
  for (size_t i = 0; i < count; ++i) {
    values[i] = static_cast<double>(static_cast<int64_t>(words[i])) * step;
  }
}

}  // namespace fedgraft::ring_loops
