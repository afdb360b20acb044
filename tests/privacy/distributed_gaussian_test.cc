#include "common/privacy/distributed_gaussian.h"

#include "gtest/gtest.h"

namespace fedgraft {
namespace {

// mpmath, 30 digits.
TEST(DistributedGaussianTest, TauIsWhatTheGridCosts) {
  EXPECT_NEAR(DistributedGaussianTau(0.25, 3), 1.2206373471865502, 1e-14);
  EXPECT_NEAR(DistributedGaussianTau(0.5, 10), 0.10513408906420444, 1e-15);
  EXPECT_NEAR(DistributedGaussianTau(1, 5), 0.00054160957739545524, 1e-17);
  EXPECT_EQ(DistributedGaussianTau(0.01, 1), 0);  // not a sum
  EXPECT_EQ(DistributedGaussianTau(1e6, 100), 0);
}

// mpmath, 30 digits; each of the bounds is the least once.
TEST(DistributedGaussianTest, LossIsTheLeastOfThreeBounds) {
  EXPECT_NEAR(DistributedGaussianRdp({4, 0.25, 100, 3}, 2), 127.3970680519884,
              1e-10);
  EXPECT_NEAR(DistributedGaussianRdp({16, 0.5, 1e6, 10}, 2), 11057.88123996743,
              1e-8);
  EXPECT_NEAR(DistributedGaussianRdp({1e6, 1, 1000, 5}, 8), 800000.5416095774,
              1e-6);
}

TEST(DistributedGaussianTest, OnAFineGridItIsTheGaussianMechanism) {
  // n sites with sigma^2 / n each.
  const DistributedGaussian sum{1e8, 2.5e9, 1e6, 4};
  EXPECT_DOUBLE_EQ(DistributedGaussianRdp(sum, 3), 3 * 1e8 / (2 * 1e10));
}

}  // namespace
}  // namespace fedgraft
