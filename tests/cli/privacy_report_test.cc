#include "aggregator/cli/privacy_report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

Plan RecordPlan() {
  Plan plan;
  plan.name = "probe";
  plan.rounds = 10;
  plan.batch_size = 100;
  plan.differential_privacy.kind = DifferentialPrivacy::kRecord;
  plan.differential_privacy.noise_multiplier = 1;
  return plan;
}

Plan SitePlan() {
  Plan plan;
  plan.rounds = 10;
  plan.quorum = plan.expected_sites = 4;
  plan.update.clip_norm = 0.1;
  plan.update.weighting = Weighting::kUniform;
  plan.differential_privacy.kind = DifferentialPrivacy::kSite;
  plan.differential_privacy.noise_multiplier = 8;
  return plan;
}

// (q, sigma, T, delta) = (0.1, 1, 100, 1e-5): 7.899255.
TEST(PrivacyReportTest, TellsWhatASiteOfThatSizePays) {
  const auto report = PrivacyReport(RecordPlan(), {1000, 0, 0});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(*report,
              AllOf(HasSubstr("plan \"probe\": record privacy"),
                    HasSubstr("1000 training records: 10 steps a round"),
                    HasSubstr("      10     7.899\n"), HasSubstr("       1 "),
                    HasSubstr("not covered")));
}

TEST(PrivacyReportTest, ShowsSeveralSizesWithoutOne) {
  const auto report = PrivacyReport(RecordPlan(), {});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(*report,
              AllOf(HasSubstr("    1000     7.899\n"), HasSubstr("   10000 ")));
}

TEST(PrivacyReportTest, FindsTheNoiseForATarget) {
  Plan plan = RecordPlan();
  plan.batch_size = 40;
  plan.rounds = 90;
  const auto report = PrivacyReport(plan, {1000, 0, 8});
  ASSERT_TRUE(report.ok()) << report.status();
  // 1.415787, up.
  EXPECT_THAT(*report, HasSubstr("for epsilon 8: noise_multiplier 1.4158"));
}

TEST(PrivacyReportTest, NamesTheObserversOfSitePrivacy) {
  // sigma 4 for who sees one site's noise, of four sites' 8: 3.617 in 10.
  Plan plan = SitePlan();
  plan.secure_aggregation.mode = SecureMode::kOff;
  const auto report = PrivacyReport(plan, {0, 100, 0});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(*report, AllOf(HasSubstr("the aggregator"), HasSubstr("3.617"),
                             HasSubstr("secure aggregation is off"),
                             HasSubstr("must not know the other sites'")));
  // Nobody knows before the run: what it may cost.
  EXPECT_THAT(*PrivacyReport(SitePlan(), {0, 100, 0}),
              AllOf(HasSubstr("3.617"), HasSubstr("is auto")));
  plan.secure_aggregation.is_on = true;
  const auto summed = PrivacyReport(plan, {0, 100, 0});
  ASSERT_TRUE(summed.ok()) << summed.status();
  EXPECT_THAT(*summed, AllOf(HasSubstr("secure aggregation is on"),
                             Not(HasSubstr("3.617"))));
}

TEST(PrivacyReportTest, SaysThatEvaluationIsNotCoveredUnlessThereIsNone) {
  Plan plan = RecordPlan();
  EXPECT_THAT(*PrivacyReport(plan, {}), HasSubstr("not covered: evaluation"));
  plan.evaluation.every = -1;
  EXPECT_THAT(*PrivacyReport(plan, {}),
              Not(HasSubstr("not covered: evaluation")));
}

TEST(PrivacyReportTest, RefusesWhatHasNoEpsilon) {
  EXPECT_THAT(std::string(PrivacyReport(Plan(), {}).status().message()),
              HasSubstr("no differential privacy"));
  EXPECT_THAT(std::string(PrivacyReport(SitePlan(), {}).status().message()),
              HasSubstr("--backbone"));
}

}  // namespace
}  // namespace fedgraft
