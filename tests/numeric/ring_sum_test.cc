#include "common/numeric/ring_sum.h"

#include <algorithm>
#include <random>
#include <vector>

#include "common/numeric/ring_codec.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

class RingSumTest : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(WordBits, RingSumTest,
                         ::testing::Values(8, 12, 16, 20, 24, 32, 64));

TEST_P(RingSumTest, IsTheSumModuloTheRingInAnyOrder) {
  const int bits = GetParam();
  const uint64_t mask = RingSpec{bits, 0}.Mask();
  std::mt19937_64 random(static_cast<uint64_t>(bits));
  RingSum sum;
  for (const size_t count : {size_t{1}, size_t{63}, size_t{30'721}}) {
    std::vector<Bytes> packed;
    std::vector<uint64_t> expected(count, 0);
    for (int site = 0; site < 40; ++site) {
      std::vector<uint64_t> words(count);
      for (size_t i = 0; i < count; ++i) {
        words[i] = random() & mask;
        expected[i] = (expected[i] + words[i]) & mask;
      }
      packed.emplace_back(PackedBytes(bits, count));
      PackWords(bits, words, absl::MakeSpan(packed.back()));
    }
    for (int order = 0; order < 3; ++order) {
      std::shuffle(packed.begin(), packed.end(), random);
      sum.Reset(bits, count);
      for (const Bytes& one : packed) sum.Add(one);
      std::vector<uint64_t> words(count);
      sum.Get(absl::MakeSpan(words));
      ASSERT_EQ(words, expected);
    }
  }
}

TEST_P(RingSumTest, OfNothingIsZeroAndResetForgets) {
  RingSum sum;
  sum.Reset(GetParam(), 3);
  sum.Add(Bytes(PackedBytes(GetParam(), 3), 0x11));
  sum.Reset(GetParam(), 3);
  std::vector<uint64_t> words(3, 7);
  sum.Get(absl::MakeSpan(words));
  EXPECT_EQ(words, std::vector<uint64_t>(3, 0));
}

}  // namespace
}  // namespace fedgraft
