#include <cmath>
#include <cstring>
#include <memory>

#include "client/privacy/budget_ledger.h"
#include "client/update/update_pipeline.h"
#include "common/privacy/site_noise.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/sim_file_store.h"
#include "tests/support/sim_random.h"
#include "tests/update/update_test_util.h"

namespace fedgraft {
namespace {

using testing::Opened;
using testing::PayloadOf;
using testing::SimFileStore;
using testing::SimRandom;
using testing::SmallLayout;
using testing::SmallPlan;

constexpr int64_t kCount = 200000;

std::shared_ptr<const ParameterLayout> WideLayout() {
  auto layout = ParameterLayout::Create({{"w", {kCount}, TensorKind::kWeight}});
  FG_CHECK(layout.ok());
  return std::make_shared<const ParameterLayout>(*std::move(layout));
}

Plan SitePlan(double noise = 0.5) {
  Plan plan = SmallPlan();
  plan.quorum = 4;
  plan.update.word_bits = 32;
  plan.update.range = 4;
  plan.update.clip_norm = 1;
  plan.update.weighting = Weighting::kUniform;
  plan.differential_privacy.kind = DifferentialPrivacy::kSite;
  plan.differential_privacy.noise_multiplier = noise;
  return plan;
}

PrivacyCharge ChargeFor(const Plan& plan, int64_t parameters) {
  SimFileStore files;
  BudgetLedger ledger(files, PrivacyBudget());
  auto cost = CostOfRound(plan, 50, parameters, Observer::kAggregator);
  FG_CHECK(cost.ok());
  auto charge = ledger.Charge(RunId{"r"}, RoundId{1}, *cost);
  FG_CHECK(charge.ok());
  return *std::move(charge);
}

absl::StatusOr<QuantizedUpdate> Noised(const Plan& plan, ParameterVector delta,
                                       SimRandom& random,
                                       uint64_t samples = 50) {
  auto layout = static_cast<int64_t>(delta.size()) == kCount ? WideLayout()
                                                             : SmallLayout();
  const PrivacyCharge charge = ChargeFor(plan, layout->Count());
  auto raw = RawUpdate::Create(layout, std::move(delta), samples);
  FG_CHECK(raw.ok());
  return QuantizedUpdate::FromPrivateUpdate(
      *ClippedUpdate::Clip(*std::move(raw), plan), plan, charge, 0, random);
}

// 200,000 values of noise 0.5 * 1 / sqrt(4) = 0.25 around a clipped update;
// bounds of 5 standard errors: one seed in 1.7 million fails by chance.
TEST(PrivateUpdateTest, NoiseHasTheQuorumsShareOfTheDeviation) {
  SimRandom random(3);
  ParameterVector delta(kCount, 3.0f);  // clipped to 1 / sqrt(n) each
  const auto update = Noised(SitePlan(), delta, random);
  ASSERT_TRUE(update.ok()) << update.status();
  double sum = 0, squares = 0;
  const double each = 1 / std::sqrt(double(kCount));
  for (const double value : Opened(*update)) {
    sum += value - each;
    squares += (value - each) * (value - each);
  }
  const double error = 5 / std::sqrt(double(kCount));
  EXPECT_NEAR(sum / kCount, 0, 0.25 * error);
  EXPECT_NEAR(squares / kCount / 0.0625, 1, error * std::sqrt(2.0));
  EXPECT_EQ(update->head().weight_word, WeightWord(1));
  EXPECT_EQ(update->head().saturated, 0u);
}

TEST(PrivateUpdateTest, HonestNoiseStaysWithinWhatTheAggregatorAccepts) {
  SimRandom random(4);
  const Plan plan = SitePlan();
  const auto noise = MakeSiteNoise(plan, kCount);
  ASSERT_TRUE(noise.ok());
  const auto update = Noised(plan, ParameterVector(kCount, 3.0f), random);
  ASSERT_TRUE(update.ok()) << update.status();
  double squares = 0;
  for (const double value : Opened(*update)) squares += value * value;
  const double most = NoisyNormMax(*noise, update->head().ring.Step(), kCount);
  EXPECT_LT(std::sqrt(squares), most);
  EXPECT_GT(std::sqrt(squares), 0.9 * most);
}

TEST(PrivateUpdateTest, TheHeadTellsNothingOfTheSitesData) {
  SimRandom a(5), b(5);
  const auto few = Noised(SitePlan(), ParameterVector(8, 0.1f), a, 11);
  const auto many = Noised(SitePlan(), ParameterVector(8, 0.1f), b, 5000);
  ASSERT_TRUE(few.ok() && many.ok());
  EXPECT_EQ(PayloadOf(*few), PayloadOf(*many));
}

// Words that are summed under masks wrap; words that are seen are cut.
TEST(PrivateUpdateTest, NoiseBeyondTheRangeIsCutUnlessItIsMasked) {
  Plan plan = SitePlan(/*noise=*/16);  // deviation 8, range 4
  SimRandom a(6), b(6);
  const auto cut = Noised(plan, ParameterVector(8, 0.0f), a);
  plan.secure_aggregation.is_on = true;
  const auto wrapped = Noised(plan, ParameterVector(8, 0.0f), b);
  ASSERT_TRUE(cut.ok() && wrapped.ok());
  EXPECT_GT(cut->head().saturated, 0u);
  EXPECT_EQ(wrapped->head().saturated, 0u);
  const double range =
      cut->head().ring.Step() * cut->head().ring.TermMax(MaxTerms(plan));
  for (const double value : Opened(*cut)) EXPECT_LE(std::abs(value), range);
}

TEST(PrivateUpdateTest, RecordPrivacyLeavesTheNoiseToTheTrainer) {
  Plan plan = SmallPlan();
  plan.differential_privacy.kind = DifferentialPrivacy::kRecord;
  SimRandom random(7);
  const ParameterVector delta = {0.5f, -0.25f, 0, 1, -1, 0.125f, 0, 0};
  const auto update = Noised(plan, delta, random);
  ASSERT_TRUE(update.ok()) << update.status();
  Plan plain = plan;
  plain.differential_privacy.kind = DifferentialPrivacy::kNone;
  auto raw = RawUpdate::Create(SmallLayout(), delta, 50);
  const auto expected = QuantizedUpdate::FromUpdate(
      *ClippedUpdate::Clip(*std::move(raw), plain), plain, 0);
  EXPECT_EQ(Opened(*update), Opened(*expected));
}

TEST(PrivateUpdateTest, NothingIsBuiltWithoutItsCharge) {
  SimRandom random(8);
  for (const Plan& plan : {SitePlan(), SitePlan(1)}) {
    auto raw = RawUpdate::Create(SmallLayout(), ParameterVector(8, 0.1f), 50);
    EXPECT_EQ(QuantizedUpdate::FromUpdate(
                  *ClippedUpdate::Clip(*std::move(raw), plan), plan, 0)
                  .status()
                  .code(),
              absl::StatusCode::kInternal);
  }
  // A charge for less noise, more parameters or the other kind.
  Plan record = SmallPlan();
  record.differential_privacy.kind = DifferentialPrivacy::kRecord;
  for (const PrivacyCharge& charge :
       {ChargeFor(SitePlan(1), 8), ChargeFor(SitePlan(), 9),
        ChargeFor(record, 8)}) {
    auto raw = RawUpdate::Create(SmallLayout(), ParameterVector(8, 0.1f), 50);
    EXPECT_EQ(QuantizedUpdate::FromPrivateUpdate(
                  *ClippedUpdate::Clip(*std::move(raw), SitePlan()), SitePlan(),
                  charge, 0, random)
                  .status()
                  .code(),
              absl::StatusCode::kInternal);
  }
}

// Values that all round up make the integers longer than the values were; the
// norm that was accounted for bounds the integers.
TEST(PrivateUpdateTest, RoundingIsWithinTheAccountedNorm) {
  Plan plan = SitePlan();
  plan.update.word_bits = 12;  // a coarse grid
  plan.update.clip_norm = 0.05;
  plan.update.range = 0.5;
  const auto noise = MakeSiteNoise(plan, 8);
  ASSERT_TRUE(noise.ok());
  const double unit = noise->Unit(TrainRing(plan)->Step());
  double squares = 0;
  for (int i = 0; i < 8; ++i) {
    const double rounded = std::nearbyint(0.05 / std::sqrt(8.0) / unit);
    squares += rounded * rounded;
  }
  EXPECT_LE(squares, noise->norm2_max);
}

}  // namespace
}  // namespace fedgraft
