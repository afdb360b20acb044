#include "common/shift/distributions.h"

#include <cmath>

#include "gtest/gtest.h"

namespace fedgraft {
namespace {

// Reference values: scipy.
TEST(DistributionsTest, ChiSquareTailsAreScipys) {
  EXPECT_NEAR(ChiSquareTail(1, 1), 0.31731050786291115, 1e-13);
  EXPECT_NEAR(ChiSquareTail(6.598278267663801, 2), 0.0369149325430343, 1e-13);
  EXPECT_NEAR(ChiSquareTail(3.3, 2.7), 0.2991511337841597, 1e-13);
  EXPECT_NEAR(ChiSquareTail(50, 6.294366318606605) / 6.603892002034827e-09, 1,
              1e-10);
  EXPECT_NEAR(ChiSquareTail(0.1, 8), 0.9999997497860527, 1e-13);
  EXPECT_EQ(ChiSquareTail(0, 3), 1);
}

TEST(DistributionsTest, StudentsDistributionIsScipys) {
  EXPECT_NEAR(StudentCdf(-3, 4), 0.019970984035859413, 1e-13);
  EXPECT_NEAR(StudentCdf(1.5, 9), 0.9160746719714626, 1e-13);
  EXPECT_NEAR(StudentCdf(-12, 17) / 5.031157763210958e-10, 1, 1e-9);
  EXPECT_NEAR(StudentCdf(0.2, 2), 0.5700140042014006, 1e-13);
  EXPECT_EQ(StudentCdf(0, 5), 0.5);
}

TEST(DistributionsTest, NormalQuantilesAreScipys) {
  EXPECT_NEAR(NormalQuantile(1e-20), -9.262340089798409, 1e-9);
  EXPECT_NEAR(NormalQuantile(1e-5), -4.264890793922825, 1e-11);
  EXPECT_NEAR(NormalQuantile(0.3), -0.5244005127080409, 1e-12);
  EXPECT_NEAR(NormalQuantile(0.975), 1.959963984540054, 1e-12);
  EXPECT_NEAR(NormalQuantile(1 - 1e-9), 5.997807019601637, 1e-6);
  EXPECT_NEAR(NormalTail(8.5) / 9.47953482220325e-18, 1, 1e-10);
}

TEST(DistributionsTest, PValuesOfNothingAndOfCertaintyHaveADeviate) {
  EXPECT_EQ(NormalQuantile(0), -38);
  EXPECT_EQ(NormalQuantile(1), 38);
  EXPECT_EQ(DeviateOfPValue(0), 38);
  EXPECT_NEAR(DeviateOfPValue(0.025), 1.959963984540054, 1e-12);
}

}  // namespace
}  // namespace fedgraft
