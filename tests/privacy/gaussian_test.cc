#include "common/privacy/gaussian.h"

#include <cmath>

#include "gtest/gtest.h"

namespace fedgraft {
namespace {

TEST(GaussianTest, DeltaAgreesWithPublishedValues) {
  EXPECT_NEAR(GaussianDelta(1.0 / 3, 1), 0.78760074, 1e-8);
  EXPECT_NEAR(GaussianDelta(1, 1), 0.126936737507, 1e-9);
}

TEST(GaussianTest, NoiseAgreesWithReferenceValues) {
  const struct {
    double epsilon, delta, expected;
  } kCases[] = {{1, 1e-5, 3.730631635},
                {0.5, 1e-5, 7.031826676},
                {2, 1e-6, 2.230476271},
                {8, 1e-5, 0.600229072}};
  for (const auto& c : kCases) {
    const auto noise = GaussianNoiseMultiplier(c.epsilon, c.delta);
    ASSERT_TRUE(noise.ok()) << noise.status();
    EXPECT_NEAR(*noise, c.expected, 1e-8) << c.epsilon;
    EXPECT_LE(GaussianDelta(*noise, c.epsilon), c.delta);
  }
}

TEST(GaussianTest, DeltaFallsWithNoiseAndEpsilonDownToNothing) {
  double previous = 1;
  for (double noise = 0.2; noise < 40; noise *= 1.3) {
    const double delta = GaussianDelta(noise, 0.7);
    EXPECT_LE(delta, previous);
    EXPECT_GE(delta, 0);
    previous = delta;
  }
  EXPECT_EQ(GaussianDelta(1, 1000), 0);
}

TEST(GaussianTest, RefusesWhatHasNoAnswer) {
  EXPECT_FALSE(GaussianNoiseMultiplier(0, 1e-5).ok());
  EXPECT_FALSE(GaussianNoiseMultiplier(1, 0).ok());
  EXPECT_FALSE(GaussianNoiseMultiplier(std::nan(""), 1e-5).ok());
}

}  // namespace
}  // namespace fedgraft
