#include "client/data/seeded_random.h"

#include <cmath>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

using ::testing::ElementsAre;

// From a Python version of both algorithms, which gives the values published
// with them (SplitMix64 of 1234567: 6457827717110365317, ...; xoshiro256++ of
// state 1, 2, 3, 4: 41943041, 58720359, ...).
TEST(SeededRandomTest, EqualsTheReferenceGenerator) {
  SeededRandom random(1234567);
  EXPECT_THAT((std::vector<uint64_t>{random.Next(), random.Next(),
                                     random.Next(), random.Next()}),
              ElementsAre(437095814655224680u, 8127161015984454572u,
                          18128670339019551454u, 254746599813523466u));
  EXPECT_EQ(MixSeed({1, 2, 3}), 15020427595393229491u);
  EXPECT_EQ(HashText(42, "patient-7"), 8940019510841645985u);
}

TEST(SeededRandomTest, KeysGiveStreamsOfTheirOwn) {
  EXPECT_EQ(SeededRandom({1, 2}).Next(), SeededRandom({1, 2}).Next());
  EXPECT_NE(SeededRandom({1, 2}).Next(), SeededRandom({2, 1}).Next());
  EXPECT_NE(SeededRandom({1, 0}).Next(), SeededRandom({1}).Next());
}

// Limits are 5 standard errors: a false alarm in about 1 of 10^6 seeds.
TEST(SeededRandomTest, MomentsAreRight) {
  constexpr int kDraws = 200'000;
  for (const double mean : {0.0, 0.3, 4.0, 29.9, 30.0, 500.0}) {
    SeededRandom random(7);
    double sum = 0, squares = 0;
    for (int i = 0; i < kDraws; ++i) {
      const double value = random.Poisson(mean);
      ASSERT_EQ(value, std::floor(value));
      ASSERT_GE(value, 0);
      sum += value;
      squares += (value - mean) * (value - mean);
    }
    EXPECT_NEAR(sum / kDraws, mean, 5 * std::sqrt(mean / kDraws) + 1e-12);
    const double spread = std::sqrt((2 * mean * mean + mean) / kDraws);
    // Rounding the normal approximation adds 1/12.
    const double rounding = mean >= 30 ? 1.0 / 12 : 0;
    EXPECT_NEAR(squares / kDraws, mean + rounding, 5 * spread + 1e-12) << mean;
  }
  SeededRandom random(8);
  double sum = 0, squares = 0, tail = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double value = random.Normal();
    sum += value;
    squares += value * value;
    tail += value > 1.959964 ? 1 : 0;
  }
  EXPECT_NEAR(sum / kDraws, 0, 5 / std::sqrt(kDraws));
  EXPECT_NEAR(squares / kDraws, 1, 5 * std::sqrt(2.0 / kDraws));
  EXPECT_NEAR(tail / kDraws, 0.025, 5 * std::sqrt(0.025 / kDraws));
}

TEST(SeededRandomTest, BelowIsUniformAndShufflePermutes) {
  SeededRandom random(9);
  std::vector<int> counts(5, 0);
  for (int i = 0; i < 50'000; ++i) ++counts[random.Below(5)];
  for (const int count : counts) EXPECT_NEAR(count, 10'000, 450);
  EXPECT_EQ(random.Below(1), 0u);

  std::vector<int> values = {0, 1, 2, 3, 4, 5, 6, 7};
  random.Shuffle(values);
  EXPECT_THAT(values, ::testing::UnorderedElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
}

}  // namespace
}  // namespace fedgraft
