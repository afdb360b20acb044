#include <cmath>
#include <limits>
#include <vector>

#include "common/privacy/epsilon.h"
#include "common/privacy/log_erfc.h"
#include "common/privacy/sampled_gaussian.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

double EpsilonOfSteps(double rate, double noise, double steps, double delta) {
  return EpsilonOf(
             [&](double order) {
               return steps * SampledGaussianRdp(rate, noise, order);
             },
             delta)
      .epsilon;
}

// mpmath, 30 digits.
TEST(LogErfcTest, IsExactWhereErfcUnderflowsToo) {
  const struct {
    double x, expected;
  } kCases[] = {{-3, 0.69313613525044681},   {0, 0},
                {5, -27.200889545537434},    {19.9, -399.57434330827499},
                {20.1, -407.58431854520041}, {30, -903.97411711064388},
                {100, -10005.177585122664}};
  for (const auto& c : kCases) {
    EXPECT_NEAR(LogErfc(c.x), c.expected, 1e-13 * (1 + std::abs(c.expected)))
        << c.x;
  }
}

TEST(SampledGaussianTest, IsTheGaussianMechanismIfAllTakePart) {
  EXPECT_DOUBLE_EQ(SampledGaussianRdp(1, 2, 8), 1);
  EXPECT_DOUBLE_EQ(SampledGaussianRdp(1, 2, 2.5), 2.5 / 8);
  EXPECT_EQ(SampledGaussianRdp(0, 2, 8), 0);
}

// The tests of google's dp_accounting have these for 50 compositions.
TEST(SampledGaussianTest, AgreesWithPublishedIntegerOrders) {
  const double kPrecision = 1e-8;
  EXPECT_NEAR(50 * SampledGaussianRdp(0.01, 2.5, 5), 2.18075656e-3,
              2e-3 * kPrecision);
  EXPECT_NEAR(50 * SampledGaussianRdp(0.01, 2.5, 50), 2.38460375e-2,
              2e-2 * kPrecision);
  EXPECT_NEAR(50 * SampledGaussianRdp(0.01, 2.5, 100), 1.67416308e2,
              2e2 * kPrecision);
}

// Quadrature of the definition with mpmath, 30 digits. With binomials that do
// not alternate in sign the first would be 3 % larger.
TEST(SampledGaussianTest, AgreesWithQuadratureAtFractionalOrders) {
  const struct {
    double rate, noise, order, expected;
  } kCases[] = {{0.01, 2.5, 1.5, 1.3001417943760794e-5},
                {0.01, 2.5, 2.5, 2.1708361138362485e-5},
                {0.04, 1.5, 3.9, 0.0018332021995838586},
                {0.5, 0.8, 1.1, 0.25825953369245348},
                {0.5, 1, 7.3, 2.8489769390130924},
                {0.001, 0.6, 4.7, 0.00011865850995748929},
                {0.9, 3, 10.9, 0.53038581054066559},
                {0.25, 5, 1.7, 0.0021603458660597994}};
  for (const auto& c : kCases) {
    // The logarithm of 1 + x is good to 1e-15 of 1.
    EXPECT_NEAR(SampledGaussianRdp(c.rate, c.noise, c.order), c.expected,
                1e-9 * c.expected + 2e-14 / (c.order - 1))
        << c.rate << " " << c.noise << " " << c.order;
  }
}

TEST(SampledGaussianTest, GrowsWithOrderAcrossIntegersAndFractions) {
  double previous = 0;
  for (const double order : RdpOrders()) {
    const double rdp = SampledGaussianRdp(0.1, 1.2, order);
    EXPECT_GT(rdp, previous) << order;
    previous = rdp;
  }
}

TEST(SampledGaussianTest, StaysFiniteOrInfiniteAndNeverNaN) {
  for (const double noise : {0.01, 0.1, 0.3, 1e4}) {
    for (const double rate : {1e-9, 0.3, 1 - 1e-9}) {
      for (const double order : {1.1, 2.0, 10.9, 63.0}) {
        EXPECT_GE(SampledGaussianRdp(rate, noise, order), 0)
            << rate << " " << noise << " " << order;
      }
    }
  }
}

TEST(EpsilonTest, HasTheOrdersThatOthersUse) {
  const auto orders = RdpOrders();
  ASSERT_EQ(orders.size(), 99u + 52u);
  EXPECT_EQ(orders[0], 1.1);
  EXPECT_EQ(orders[9], 2.0);
  EXPECT_EQ(orders[98], 10.9);
  EXPECT_EQ(orders[99], 12);
  EXPECT_EQ(orders[150], 63);
}

TEST(EpsilonTest, ConvertsAConstantLoss) {
  std::vector<double> orders;
  for (int a = 2; a <= 32; ++a) orders.push_back(a);
  const std::vector<double> rdp(orders.size(), 1.1);
  const Epsilon epsilon = EpsilonOfRdp(orders, rdp, 1e-5);
  EXPECT_NEAR(epsilon.epsilon, 1.32783806176, 1e-10);
  EXPECT_EQ(epsilon.order, 32);
}

TEST(EpsilonTest, IsZeroRatherThanNegativeAndSkipsInfiniteOrders) {
  EXPECT_EQ(EpsilonOfRdp({64.0}, {0.0}, 0.9).epsilon, 0);
  const double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(EpsilonOfRdp({2.0, 4.0}, {1.0, kInfinity}, 1e-5).order, 2);
}

// The test of Opacus, and values computed once with another implementation.
TEST(EpsilonTest, AgreesWithReferenceValuesOfDpSgd) {
  const struct {
    double rate, noise, steps, delta, expected;
  } kCases[] = {{0.04, 1.5, 2250, 1e-5, 7.32911117143},
                {1, 4, 10, 1e-5, 3.617099773},
                {0.5, 2, 50, 1e-5, 10.277893381},
                {0.1, 1, 100, 1e-5, 7.899255002},
                {0.01, 1.1, 1000, 1e-5, 1.711770091},
                {0.25, 5, 200, 1e-3, 2.394526166}};
  for (const auto& c : kCases) {
    EXPECT_NEAR(EpsilonOfSteps(c.rate, c.noise, c.steps, c.delta), c.expected,
                1e-8)
        << c.rate << " " << c.noise;
  }
}

TEST(NoiseMultiplierTest, AgreesWithReferenceValues) {
  const struct {
    double epsilon, delta, rate, steps, expected;
  } kCases[] = {
      {8, 1e-5, 0.04, 2250, 1.415787}, {8, 1e-5, 0.04, 2000, 1.356134},
      {8, 1e-5, 1, 50, 4.509009},      {2, 1e-5, 1, 50, 15.196505},
      {1, 1e-5, 1, 100, 40.453854},    {3, 1e-4, 0.05, 1000, 2.258856}};
  for (const auto& c : kCases) {
    const auto noise = NoiseMultiplierFor(c.epsilon, c.delta, c.rate, c.steps);
    ASSERT_TRUE(noise.ok()) << noise.status();
    EXPECT_NEAR(*noise, c.expected, 3e-6 * c.expected + 1e-6);
    EXPECT_LE(EpsilonOfSteps(c.rate, *noise, c.steps, c.delta), c.epsilon);
  }
}

TEST(NoiseMultiplierTest, RefusesWhatHasNoAnswer) {
  EXPECT_FALSE(NoiseMultiplierFor(0, 1e-5, 0.1, 10).ok());
  EXPECT_FALSE(NoiseMultiplierFor(1, 1, 0.1, 10).ok());
  EXPECT_FALSE(NoiseMultiplierFor(1, 1e-5, 0, 10).ok());
  EXPECT_FALSE(NoiseMultiplierFor(1, 1e-5, 1.1, 10).ok());
  EXPECT_FALSE(NoiseMultiplierFor(1, 1e-5, 0.1, 0).ok());
  EXPECT_TRUE(
      absl::IsOutOfRange(NoiseMultiplierFor(1e-9, 1e-12, 1, 1e9).status()));
}

}  // namespace
}  // namespace fedgraft
