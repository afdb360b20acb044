#include <string>
#include <utility>

#include "common/config/plan_checks_secure.h"
#include "common/config/plan_loader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/config/plan_text.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;

// The minimal plan of `sites` sites with secure aggregation on.
absl::StatusOr<Plan> Secure(int sites, const std::string& more = "",
                            const std::string& lines = "") {
  std::string text = MinimalPlan() + lines;
  const std::string old = "sites: {quorum: 3}";
  text.replace(text.find(old), old.size(),
               "sites: {quorum: 2, expected: " + std::to_string(sites) + "}");
  return ParsePlanYaml(
      text + "privacy: {secure_aggregation: {mode: \"on\"" + more + "}}\n",
      "plan.yaml");
}

std::string Why(const absl::StatusOr<Plan>& plan) {
  return std::string(plan.status().message());
}

TEST(SecurePlanTest, IsAutomaticUnlessSaidAndOnKeepsItsNumbers) {
  const auto unsaid = ParsePlanYaml(MinimalPlan(), "p");
  EXPECT_EQ(unsaid->secure_aggregation.mode, SecureMode::kAuto);
  EXPECT_FALSE(unsaid->secure_aggregation.is_on);  // not known yet
  EXPECT_EQ(WhyNeverMasked(*unsaid), "");
  const auto plan = Secure(5, ", threshold: 3, cohort_min: 4");
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_TRUE(plan->secure_aggregation.is_on);
  EXPECT_EQ(plan->secure_aggregation.threshold, 3);
  EXPECT_EQ(plan->secure_aggregation.cohort_min, 4);
  EXPECT_TRUE(PlanFromBytes(plan->bytes).ok());
}

TEST(SecurePlanTest, NeedsThreeSites) {
  EXPECT_THAT(Why(Secure(2)), HasSubstr("sites.expected: found 2; secure "
                                        "aggregation expects 3 to 512"));
  EXPECT_TRUE(Secure(3).ok());
  EXPECT_TRUE(Secure(512).ok());
  EXPECT_THAT(Why(Secure(513)), HasSubstr("sites.expected: found 513"));
}

TEST(SecurePlanTest, TheThresholdIsAMajorityAndNoMoreThanAll) {
  for (const int bad : {1, 2, 6}) {
    EXPECT_THAT(Why(Secure(5, ", threshold: " + std::to_string(bad))),
                HasSubstr("threshold: found " + std::to_string(bad) +
                          "; expected 0, or 3 to 5"));
  }
  EXPECT_TRUE(Secure(5, ", threshold: 5").ok());
}

TEST(SecurePlanTest, TheCohortIsNotLargerThanTheFederation) {
  EXPECT_THAT(Why(Secure(4, ", cohort_min: 5")),
              HasSubstr("cohort_min: found 5; expected at most the 4"));
}

TEST(SecurePlanTest, AutomaticSaysWhyItComesToNoMasks) {
  const std::pair<std::string, std::string> cases[] = {
      {"sites: {quorum: 2}\n", "a quorum of 2"},
      {"sites: {quorum: 3, expected: 513}\n", "513 expected sites"},
      {"sites: {quorum: 3}\nrule: {kind: median}\n", "rule median compares"},
  };
  for (const auto& [lines, why] : cases) {
    const std::string old = "sites: {quorum: 3}\n";
    std::string text = MinimalPlan();
    text.replace(text.find(old), old.size(), lines);
    const auto plan = ParsePlanYaml(text, "plan.yaml");
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_THAT(WhyNeverMasked(*plan), HasSubstr(why));
    // Keys that nothing would read are refused.
    EXPECT_THAT(
        Why(ParsePlanYaml(
            text + "privacy: {secure_aggregation: {cohort_min: 4}}\n", "p")),
        HasSubstr("where they do nothing; expected their defaults"));
  }
}

TEST(SecurePlanTest, AutomaticChecksItsNumbersAsOnDoes) {
  EXPECT_THAT(Why(ParsePlanYaml(MinimalPlan() +
                                    "privacy: "
                                    "{secure_aggregation: {cohort_min: 4}}\n",
                                "p")),
              HasSubstr("cohort_min: found 4; expected at most the 3"));
}

}  // namespace
}  // namespace fedgraft
