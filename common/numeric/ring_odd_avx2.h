#pragma once

#include <immintrin.h>

#include "common/numeric/ring_loops.h"

// Words of 12, 20 and 24 bits by byte shuffles, 256 bits at a time. Groups are
// whole bytes; what is left goes through the plain loops.

#define FG_AVX2_LOOP inline __attribute__((always_inline, target("avx2")))

namespace fedgraft::ring_loops {

// 128 bits from `from` and from `from + second`: no group reads across lanes.
FG_AVX2_LOOP __m256i LoadHalves(const uint8_t* from, size_t second) {
  const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  const __m128i high =
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + second));
  return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

// kWords words of kBytes bytes become lanes of type Lane; kReads bytes are
// read.
template <int kBits>
struct OddGroup;

template <>
struct OddGroup<12> {
  using Lane = uint16_t;
  static constexpr size_t kWords = 16, kBytes = 24, kReads = 28;
  FG_AVX2_LOOP static __m256i Read(const uint8_t* from) {
    // A pair of words lies in three bytes; each gets the two it touches.
    const __m256i shuffle =
        _mm256_setr_epi8(0, 1, 1, 2, 3, 4, 4, 5, 6, 7, 7, 8, 9, 10, 10, 11,  //
                         0, 1, 1, 2, 3, 4, 4, 5, 6, 7, 7, 8, 9, 10, 10, 11);
    const __m256i both = _mm256_shuffle_epi8(LoadHalves(from, 12), shuffle);
    const __m256i even = _mm256_and_si256(both, _mm256_set1_epi16(0x0fff));
    return _mm256_blend_epi16(even, _mm256_srli_epi16(both, 4), 0xaa);
  }
};

template <>
struct OddGroup<20> {
  using Lane = uint32_t;
  static constexpr size_t kWords = 8, kBytes = 20, kReads = 26;
  FG_AVX2_LOOP static __m256i Read(const uint8_t* from) {
    const __m256i shuffle =
        _mm256_setr_epi8(0, 1, 2, -1, 2, 3, 4, -1, 5, 6, 7, -1, 7, 8, 9, -1,  //
                         0, 1, 2, -1, 2, 3, 4, -1, 5, 6, 7, -1, 7, 8, 9, -1);
    const __m256i both = _mm256_shuffle_epi8(LoadHalves(from, 10), shuffle);
    const __m256i even = _mm256_and_si256(both, _mm256_set1_epi32(0xfffff));
    return _mm256_blend_epi32(even, _mm256_srli_epi32(both, 4), 0xaa);
  }
};

template <>
struct OddGroup<24> {
  using Lane = uint32_t;
  static constexpr size_t kWords = 8, kBytes = 24, kReads = 28;
  FG_AVX2_LOOP static __m256i Read(const uint8_t* from) {
    const __m256i shuffle = _mm256_setr_epi8(
        0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1,  //
        0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
    return _mm256_shuffle_epi8(LoadHalves(from, 12), shuffle);
  }
};

template <typename Out, bool kAdd>
FG_AVX2_LOOP void PutVector(uint8_t* out, __m256i value) {
  __m256i* const at = reinterpret_cast<__m256i*>(out);
  if constexpr (kAdd) {
    const __m256i old = _mm256_loadu_si256(at);
    value = sizeof(Out) == 2   ? _mm256_add_epi16(old, value)
            : sizeof(Out) == 4 ? _mm256_add_epi32(old, value)
                               : _mm256_add_epi64(old, value);
  }
  _mm256_storeu_si256(at, value);
}

// Lanes as they are, or widened to 64 bits.
template <typename Lane, typename Out, bool kAdd>
FG_AVX2_LOOP void PutGroup(uint8_t* out, __m256i lanes) {
  const __m128i low = _mm256_castsi256_si128(lanes);
  const __m128i high = _mm256_extracti128_si256(lanes, 1);
  if constexpr (sizeof(Out) == sizeof(Lane)) {
    PutVector<Out, kAdd>(out, lanes);
  } else if constexpr (sizeof(Lane) == 4) {
    PutVector<Out, kAdd>(out, _mm256_cvtepu32_epi64(low));
    PutVector<Out, kAdd>(out + 32, _mm256_cvtepu32_epi64(high));
  } else {
    PutVector<Out, kAdd>(out, _mm256_cvtepu16_epi64(low));
    PutVector<Out, kAdd>(out + 32,
                         _mm256_cvtepu16_epi64(_mm_srli_si128(low, 8)));
    PutVector<Out, kAdd>(out + 64, _mm256_cvtepu16_epi64(high));
    PutVector<Out, kAdd>(out + 96,
                         _mm256_cvtepu16_epi64(_mm_srli_si128(high, 8)));
  }
}

template <int kBits, typename Out, bool kAdd>
FG_AVX2_LOOP void OddWordsAvx2(const uint8_t* packed, size_t count,
                               uint8_t* out) {
  using Group = OddGroup<kBits>;
  size_t bytes = (count * kBits + 7) / 8;
  while (count >= Group::kWords && bytes >= Group::kReads) {
    PutGroup<typename Group::Lane, Out, kAdd>(out, Group::Read(packed));
    packed += Group::kBytes;
    bytes -= Group::kBytes;
    count -= Group::kWords;
    out += Group::kWords * sizeof(Out);
  }
  OddWords<kBits, Out, kAdd>(packed, count, out);
}

// Four words become two runs of kBits / 4 bytes, each stored with eight.
template <int kBits>
FG_AVX2_LOOP void PackOddAvx2(const uint64_t* words, size_t count,
                              uint8_t* packed) {
  constexpr size_t kPairBytes = kBits / 4;
  const __m256i mask = _mm256_set1_epi64x((int64_t{1} << kBits) - 1);
  const __m256i shift = _mm256_setr_epi64x(0, kBits, 0, kBits);
  size_t bytes = (count * kBits + 7) / 8;
  while (count >= 4 && bytes >= kPairBytes + 8) {
    const __m256i all =
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
    const __m256i placed =
        _mm256_sllv_epi64(_mm256_and_si256(all, mask), shift);
    const __m256i pairs = _mm256_or_si256(placed, _mm256_srli_si256(placed, 8));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(packed),
                     _mm256_castsi256_si128(pairs));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(packed + kPairBytes),
                     _mm256_extracti128_si256(pairs, 1));
    words += 4;
    count -= 4;
    packed += 2 * kPairBytes;
    bytes -= 2 * kPairBytes;
  }
  PackOdd<kBits>(words, count, packed);
}

}  // namespace fedgraft::ring_loops
