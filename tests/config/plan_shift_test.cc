#include <string>

#include "common/config/plan_loader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/config/plan_text.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;

// The minimal plan with this quorum, a look every round, and more lines.
absl::StatusOr<Plan> Looking(int quorum, const std::string& more = "") {
  std::string text = MinimalPlan();
  const std::string old = "sites: {quorum: 3}";
  text.replace(text.find(old), old.size(),
               "sites: {quorum: " + std::to_string(quorum) + "}");
  return ParsePlanYaml(text + "shift: {every: 1}\n" + more, "plan.yaml");
}
std::string Why(const absl::StatusOr<Plan>& plan) {
  return std::string(plan.status().message());
}

TEST(ShiftPlanTest, IsOffUnlessAskedForAndSurvivesItsBytes) {
  EXPECT_EQ(ParsePlanYaml(MinimalPlan(), "p")->shift.every, 0);
  const auto plan = Looking(4);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->shift.false_alarm_rate, 0.05);
  EXPECT_EQ(PlanFromBytes(plan->bytes)->shift.every, 1);
}

TEST(ShiftPlanTest, ComparesWithThreeOtherSitesOrMore) {
  EXPECT_THAT(Why(Looking(3)),
              HasSubstr("sites.quorum: found 3 of 3 sites; shift tracking "
                        "expects 4 or more"));
}

TEST(ShiftPlanTest, ExactSumsAreRefusedBesideDifferentialPrivacy) {
  EXPECT_THAT(
      Why(Looking(4, "privacy: {differential_privacy: {kind: record}}\n")),
      HasSubstr("shift.every: found 1, whose exact sums"));
}

TEST(ShiftPlanTest, AKeyThatDoesNothingIsRefused) {
  EXPECT_THAT(Why(ParsePlanYaml(
                  MinimalPlan() + "shift: {false_alarm_rate: 0.01}\n", "p")),
              HasSubstr("shift.false_alarm_rate: found with shift.every 0"));
}

}  // namespace
}  // namespace fedgraft
