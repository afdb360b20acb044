#include "common/numeric/ring_codec.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;

struct GoldenQuantize {
  RingSpec spec;
  int max_terms;
  double scale;
  uint64_t saturated;
  std::vector<float> values;
  std::vector<uint64_t> words;
};
struct GoldenPack {
  int word_bits;
  std::vector<uint64_t> words;
  std::string packed_hex;
};
#include "tests/numeric/ring_golden.inc"

const int kWidths[] = {8, 12, 16, 20, 24, 32, 64};

std::vector<uint64_t> RandomWords(int word_bits, size_t count, uint32_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint64_t> words(count);
  for (uint64_t& word : words) word = random() >> (64 - word_bits);
  return words;
}

Bytes Packed(int word_bits, const std::vector<uint64_t>& words) {
  Bytes out(PackedBytes(word_bits, words.size()));
  PackWords(word_bits, words, absl::MakeSpan(out));
  return out;
}

TEST(RingSpecTest, GridIsTheFinestThatHoldsTheSum) {
  for (int bits : kWidths) {
    for (double range : {1e-6, 0.3, 1.0, 4.0, 1000.0}) {
      for (int terms : {1, 3, 16, 1000}) {
        const auto spec = RingSpec::ForSum(bits, range, terms);
        if (!spec.ok()) continue;
        const double capacity = std::ldexp(1.0, bits - 1);
        const int f = spec->fraction_bits;
        EXPECT_GT(capacity, std::ldexp(terms * range, f));
        if (f < 62) {
          EXPECT_LE(capacity, std::ldexp(terms * range, f + 1));
        }
        EXPECT_EQ(spec->Step(), std::ldexp(1.0, -f));
      }
    }
  }
}

TEST(RingSpecTest, SumOfLargestTermsNeverWraps) {
  for (int bits : kWidths) {
    for (int terms : {1, 2, 3, 7, 16, 100}) {
      const RingSpec spec{bits, 4};
      const __int128 sum = static_cast<__int128>(spec.TermMax(terms)) * terms;
      EXPECT_LT(sum, static_cast<__int128>(1) << (bits - 1));
    }
  }
}

TEST(RingSpecTest, RefusesWhatCannotWork) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(absl::IsInvalidArgument(RingSpec::ForSum(31, 1, 2).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(RingSpec::ForSum(0, 1, 2).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(RingSpec::ForSum(32, 0, 2).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(RingSpec::ForSum(32, nan, 2).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(RingSpec::ForSum(32, 1, 0).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(RingSpec::ForSum(8, 1e30, 2).status()));
}

TEST(QuantizeTest, EqualsExactRationalArithmetic) {
  for (const GoldenQuantize& golden : kGoldenQuantize) {
    const auto result =
        Quantize(golden.spec, golden.max_terms, golden.values, golden.scale);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->words, golden.words)
        << golden.spec.word_bits << " bits, fraction "
        << golden.spec.fraction_bits;
    EXPECT_EQ(result->saturated, golden.saturated);
  }
}

TEST(QuantizeTest, DoublesAndFloatsAgree) {
  for (const GoldenQuantize& golden : kGoldenQuantize) {
    std::vector<double> values;
    for (float value : golden.values) values.push_back(value * golden.scale);
    const auto result = QuantizeDoubles(golden.spec, golden.max_terms, values);
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->words, golden.words);
  }
}

TEST(QuantizeTest, TiesGoToEven) {
  const RingSpec spec{16, 0};
  const auto result =
      Quantize(spec, 1, {0.5f, 1.5f, 2.5f, 3.5f, -0.5f, -1.5f, -2.5f}, 1.0);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->words,
            (std::vector<uint64_t>{0, 2, 2, 4, 0, 0xfffe, 0xfffe}));
}

TEST(QuantizeTest, NonFiniteIsRefusedNamingTheFirstIndex) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  for (size_t index : {0, 5, 4095, 4096, 9999}) {
    for (float bad : {nan, inf, -inf}) {
      std::vector<float> values(10000, 0.25f);
      values[index] = bad;
      values.back() = nan;
      const auto result = Quantize({32, 16}, 4, values, 1.0);
      ASSERT_TRUE(absl::IsInvalidArgument(result.status()));
      EXPECT_THAT(std::string(result.status().message()),
                  HasSubstr("value " + std::to_string(index) + " of 10000"));
    }
  }
  EXPECT_FALSE(QuantizeDoubles({64, 20}, 4, {1.0, HUGE_VAL}).ok());
  EXPECT_FALSE(Quantize({32, 16}, 4, {1.0f}, nan).ok());
}

TEST(QuantizeTest, SaturationIsCountedAndCutToTheLargestTerm) {
  for (int bits : kWidths) {
    const RingSpec spec{bits, 0};
    const int64_t term_max = spec.TermMax(3);
    const auto result =
        QuantizeDoubles(spec, 3, {1e300, -1e300, 0.0, 2.0 * term_max});
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->saturated, 3u) << bits;
    EXPECT_EQ(result->words[0], static_cast<uint64_t>(term_max));
    EXPECT_EQ(result->words[1], static_cast<uint64_t>(-term_max) & spec.Mask());
    EXPECT_EQ(result->words[2], 0u);
  }
}

TEST(QuantizeTest, HugeFloatTimesScaleSaturatesInsteadOfOverflowing) {
  const auto result = Quantize({32, 16}, 4, {3e38f, -3e38f}, 1e300);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->saturated, 2u);
}

TEST(DequantizeTest, InvertsQuantizeWithinHalfAStep) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (int bits : kWidths) {
    const auto spec = RingSpec::ForSum(bits, 4, 4);
    ASSERT_TRUE(spec.ok());
    std::vector<float> values(1000);
    for (float& v : values) v = std::clamp(normal(random), -3.f, 3.f);
    const auto result = Quantize(*spec, 4, values, 1.0);
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->saturated, 0u);
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_NEAR(Dequantize(*spec, result->words[i]), values[i],
                  spec->Step() / 2 + 1e-12);
    }
  }
}

TEST(PackTest, EqualsOneBigLittleEndianInteger) {
  for (const GoldenPack& golden : kGoldenPack) {
    EXPECT_EQ(ToHex(Packed(golden.word_bits, golden.words)), golden.packed_hex);
  }
}

TEST(PackTest, EveryWidthAndCountRoundTrips) {
  for (int bits : kWidths) {
    for (size_t count : {0, 1, 2, 3, 7, 8, 100, 4097}) {
      const std::vector<uint64_t> words = RandomWords(bits, count, 7 + bits);
      const Bytes packed = Packed(bits, words);
      EXPECT_EQ(packed.size(), (count * bits + 7) / 8);
      std::vector<uint64_t> back(count);
      UnpackWords(bits, packed, absl::MakeSpan(back));
      EXPECT_EQ(back, words);
      std::vector<uint64_t> sum(count, 5);
      AddPacked(bits, packed, absl::MakeSpan(sum));
      for (size_t i = 0; i < count; ++i) ASSERT_EQ(sum[i], words[i] + 5);
    }
  }
}

TEST(PackTest, BitsAboveTheWordAreDropped) {
  for (int bits : {8, 12, 20, 32}) {
    EXPECT_EQ(Packed(bits, {~uint64_t{0}, 0, 1}),
              Packed(bits, {(uint64_t{1} << bits) - 1, 0, 1}));
  }
}

// The property the whole design rests on.
TEST(RingSumTest, IsExactInEveryOrderAndChunking) {
  constexpr int kSites = 9;
  constexpr size_t kCount = 600;
  std::mt19937_64 random(17);
  for (int bits : kWidths) {
    const RingSpec spec{bits, 3};
    const int64_t term_max = spec.TermMax(kSites);
    std::vector<Bytes> packed;
    std::vector<__int128> exact(kCount, 0);
    for (int site = 0; site < kSites; ++site) {
      std::vector<uint64_t> words(kCount);
      for (size_t i = 0; i < kCount; ++i) {
        // Every eighth value is at the edge of the range at every site.
        int64_t term = i % 8 == 0 ? term_max : i % 8 == 1 ? -term_max : 0;
        if (i % 8 > 1) {
          term = static_cast<int64_t>(random() % (2 * uint64_t(term_max) + 1)) -
                 term_max;
        }
        words[i] = static_cast<uint64_t>(term) & spec.Mask();
        exact[i] += term;
      }
      packed.push_back(Packed(bits, words));
    }
    for (int order = 0; order < 3; ++order) {
      std::shuffle(packed.begin(), packed.end(), random);
      // 40 words are whole bytes in every width.
      const size_t chunk = order == 0 ? kCount : 40 * order;
      std::vector<uint64_t> sum(kCount, 0);
      for (const Bytes& bytes : packed) {
        for (size_t from = 0; from < kCount; from += chunk) {
          const size_t n = std::min(chunk, kCount - from);
          AddPacked(bits,
                    ByteSpan(bytes).subspan(from * bits / 8, n * bits / 8),
                    absl::MakeSpan(sum).subspan(from, n));
        }
      }
      for (size_t i = 0; i < kCount; ++i) {
        const int unused = 64 - bits;
        const int64_t got = static_cast<int64_t>(sum[i] << unused) >> unused;
        ASSERT_TRUE(got == exact[i]) << bits << " bits, word " << i;
      }
    }
  }
}

}  // namespace
}  // namespace fedgraft
