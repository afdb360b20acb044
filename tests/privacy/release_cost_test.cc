#include "common/privacy/release_cost.h"

#include <cmath>

#include "common/numeric/update_payload.h"
#include "common/privacy/site_noise.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

Plan RecordPlan() {
  Plan plan;
  plan.batch_size = 64;
  plan.local_epochs = 2;
  plan.differential_privacy.kind = DifferentialPrivacy::kRecord;
  plan.differential_privacy.noise_multiplier = 1.1;
  return plan;
}

Plan SitePlan() {
  Plan plan;
  plan.quorum = 10;
  plan.expected_sites = 10;
  plan.update.range = 4;
  plan.update.clip_norm = 0.5;
  plan.update.weighting = Weighting::kUniform;
  plan.differential_privacy.kind = DifferentialPrivacy::kSite;
  plan.differential_privacy.noise_multiplier = 4;
  return plan;
}

TEST(ReleaseCostTest, RecordPrivacyCountsTheStepsOfPoissonBatches) {
  const auto cost = CostOfRound(RecordPlan(), 6400, 0, Observer::kAggregator);
  ASSERT_TRUE(cost.ok()) << cost.status();
  EXPECT_DOUBLE_EQ(cost->rate, 0.01);
  EXPECT_EQ(cost->steps, 200);
  // (q, sigma, T, delta) = (0.01, 1.1, 1000, 1e-5) of the reference table.
  EXPECT_NEAR(TotalEpsilon({{*cost, 5}}, 1e-5).epsilon, 1.711770091, 1e-8);
}

TEST(ReleaseCostTest, AStepOfSeveralBatchesIsOneReleaseOfTheirRecords) {
  Plan plan = RecordPlan();
  plan.accumulate = 4;
  const auto cost = CostOfRound(plan, 6400, 0, Observer::kAggregator);
  ASSERT_TRUE(cost.ok()) << cost.status();
  EXPECT_DOUBLE_EQ(cost->rate, 0.04);
  EXPECT_EQ(cost->steps, 50);
}

TEST(ReleaseCostTest, ASiteSmallerThanABatchTakesPartWhole) {
  const auto cost = CostOfRound(RecordPlan(), 10, 0, Observer::kPublic);
  ASSERT_TRUE(cost.ok()) << cost.status();
  EXPECT_EQ(cost->rate, 1);
  EXPECT_EQ(cost->steps, 2);
}

TEST(ReleaseCostTest, DifferentReleasesAddUpInRdp) {
  const Plan plan = RecordPlan();
  const auto one = CostOfRound(plan, 1000, 0, Observer::kAggregator);
  const auto other = CostOfRound(plan, 2000, 0, Observer::kAggregator);
  ASSERT_TRUE(one.ok() && other.ok());
  const double order = 7;
  const double rdp = 3 * RdpOf(*one, order) + 4 * RdpOf(*other, order);
  const double bound = EpsilonOfRdp({order}, {rdp}, 1e-5).epsilon;
  const double together = TotalEpsilon({{*one, 3}, {*other, 4}}, 1e-5).epsilon;
  EXPECT_LE(together, bound);
  EXPECT_GT(together, TotalEpsilon({{*one, 3}}, 1e-5).epsilon);
  EXPECT_EQ(TotalEpsilon({{*one, 0}}, 0.5).epsilon, 0);
}

TEST(ReleaseCostTest, SitePrivacyIsTheGaussianMechanismOnAFineGrid) {
  const auto cost = CostOfRound(SitePlan(), 0, 1000, Observer::kPublic);
  ASSERT_TRUE(cost.ok()) << cost.status();
  // (q, sigma, T, delta) = (1, 4, 10, 1e-5); the grid adds a little.
  const double epsilon = TotalEpsilon({{*cost, 10}}, 1e-5).epsilon;
  EXPECT_GE(epsilon, 3.617099773);
  EXPECT_NEAR(epsilon, 3.617099773, 1e-3);
}

TEST(ReleaseCostTest, AnAggregatorThatSeesEachUpdateSeesATenthOfTheNoise) {
  Plan plan = SitePlan();
  const auto apart = CostOfRound(plan, 0, 1000, Observer::kAggregator);
  plan.secure_aggregation.is_on = true;
  const auto summed = CostOfRound(plan, 0, 1000, Observer::kAggregator);
  ASSERT_TRUE(apart.ok() && summed.ok());
  EXPECT_EQ(apart->sum.contributions, 1);
  EXPECT_EQ(summed->sum.contributions, 10);
  EXPECT_NEAR(RdpOf(*apart, 5), 10 * RdpOf(*summed, 5), 1e-9);
}

TEST(ReleaseCostTest, RefusesWhatHasNoCost) {
  EXPECT_FALSE(CostOfRound(Plan(), 10, 10, Observer::kPublic).ok());
  EXPECT_FALSE(CostOfRound(RecordPlan(), 0, 10, Observer::kPublic).ok());
  EXPECT_FALSE(CostOfRound(SitePlan(), 10, 0, Observer::kPublic).ok());
}

TEST(SiteNoiseTest, UnitsKeepTheNoiseWithinTheSampler) {
  for (const int bits : {16, 24, 32, 64}) {
    Plan plan = SitePlan();
    plan.update.word_bits = bits;
    const auto noise = MakeSiteNoise(plan, 100);
    ASSERT_TRUE(noise.ok()) << noise.status();
    const double unit = noise->Unit(TrainRing(plan)->Step());
    const double sigma = std::sqrt(double(noise->sigma2)) * unit;
    EXPECT_LT(noise->sigma2, uint64_t{1} << 51);
    EXPECT_GE(sigma, SiteNoiseSigma(plan)) << bits;
    EXPECT_LE(sigma, SiteNoiseSigma(plan) + unit) << bits;
    EXPECT_GE(std::sqrt(noise->norm2_max) * unit, plan.update.clip_norm);
    EXPECT_NEAR(std::sqrt(noise->norm2_max) * unit, plan.update.clip_norm,
                5.001 * unit);
  }
}

}  // namespace
}  // namespace fedgraft
