#include "common/privacy/discrete_gaussian.h"

#include <cmath>
#include <map>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/sim_random.h"

namespace fedgraft {
namespace {

using testing::SimRandom;

constexpr int kSamples = 1000000;

// Probabilities of -reach .. reach.
std::vector<double> Probabilities(double sigma2, int reach) {
  double total = 0;
  for (int x = -reach * 20; x <= reach * 20; ++x) {
    total += std::exp(-x * double(x) / (2 * sigma2));
  }
  std::vector<double> p;
  for (int x = -reach; x <= reach; ++x) {
    p.push_back(std::exp(-x * double(x) / (2 * sigma2)) / total);
  }
  return p;
}

// Pearson's statistic over single values within the reach and what is left,
// standardised (Wilson and Hilferty): about standard normal.
double ChiSquareScore(const std::map<int64_t, int>& counts, double sigma2,
                      int reach) {
  const std::vector<double> p = Probabilities(sigma2, reach);
  double statistic = 0, p_left = 1;
  int64_t left = kSamples;
  for (int x = -reach; x <= reach; ++x) {
    const double expected = kSamples * p[x + reach];
    const auto found = counts.find(x);
    const double observed = found == counts.end() ? 0 : found->second;
    statistic += (observed - expected) * (observed - expected) / expected;
    p_left -= p[x + reach];
    left -= static_cast<int64_t>(observed);
  }
  statistic += (left - kSamples * p_left) * (left - kSamples * p_left) /
               (kSamples * p_left);
  const double dof = 2 * reach + 1;
  const double spread = 2 / (9 * dof);
  return (std::cbrt(statistic / dof) - (1 - spread)) / std::sqrt(spread);
}

struct SamplerCase {
  uint64_t sigma2;
  int reach;  // cells beyond expect fewer than 5
};

class DiscreteGaussianTest : public ::testing::TestWithParam<SamplerCase> {};

// Scores beyond 4 come once in 30,000 seeds; the seed is fixed.
TEST_P(DiscreteGaussianTest, SamplesFollowTheDistribution) {
  const auto [sigma2, reach] = GetParam();
  SimRandom random(20260 + sigma2);
  DiscreteGaussian sampler(sigma2, random);
  std::map<int64_t, int> counts;
  double sum = 0, squares = 0;
  for (int i = 0; i < kSamples; ++i) {
    const int64_t x = sampler.Sample();
    ++counts[x];
    sum += static_cast<double>(x);
    squares += static_cast<double>(x) * static_cast<double>(x);
  }
  EXPECT_LT(ChiSquareScore(counts, static_cast<double>(sigma2), reach), 4);
  // Mean and variance within 4.5 standard errors: once in 75,000 seeds each.
  double variance = 0;
  const std::vector<double> p = Probabilities(double(sigma2), reach * 2);
  for (int x = -2 * reach; x <= 2 * reach; ++x) {
    variance += p[x + 2 * reach] * x * x;
  }
  EXPECT_NEAR(sum / kSamples, 0, 4.5 * std::sqrt(variance / kSamples));
  EXPECT_NEAR(squares / kSamples / variance, 1,
              4.5 * std::sqrt(2.2 / kSamples));
}

INSTANTIATE_TEST_SUITE_P(Widths, DiscreteGaussianTest,
                         ::testing::Values(SamplerCase{1, 4}, SamplerCase{2, 6},
                                           SamplerCase{9, 13},
                                           SamplerCase{100, 42}),
                         [](const auto& info) {
                           return "Sigma2Is" +
                                  std::to_string(info.param.sigma2);
                         });

// The largest width that the products allow, where 128 bits are needed.
TEST(DiscreteGaussianWideTest, MomentsAreThoseOfTheNormalDistribution) {
  SimRandom random(7);
  DiscreteGaussian sampler(DiscreteGaussian::kSigma2Max, random);
  constexpr int kWide = 200000;
  const double sigma = std::ldexp(1.0, 26);
  double sum = 0, squares = 0, fourth = 0;
  int odd = 0;
  for (int i = 0; i < kWide; ++i) {
    const int64_t x = sampler.Sample();
    const double z = static_cast<double>(x) / sigma;
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
    odd += x % 2 != 0;
  }
  // 4.5 standard errors; of z^2 sqrt 2, of z^4 sqrt 96.
  const double error = 4.5 / std::sqrt(double(kWide));
  EXPECT_NEAR(sum / kWide, 0, error);
  EXPECT_NEAR(squares / kWide, 1, error * std::sqrt(2.0));
  EXPECT_NEAR(fourth / kWide, 3, error * std::sqrt(96.0));
  EXPECT_NEAR(odd / double(kWide), 0.5, error / 2);
}

TEST(DiscreteGaussianWideTest, TheSameRandomnessGivesTheSameNoise) {
  SimRandom a(1), b(1), c(2);
  DiscreteGaussian first(1 << 20, a), again(1 << 20, b), other(1 << 20, c);
  int equal = 0;
  for (int i = 0; i < 100; ++i) {
    const int64_t x = first.Sample();
    EXPECT_EQ(x, again.Sample());
    equal += x == other.Sample();
  }
  EXPECT_LT(equal, 5);
}

}  // namespace
}  // namespace fedgraft
