#include <string>

#include "common/config/plan_loader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/config/plan_text.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;

// The minimal plan with this quorum, this look every so many rounds, and more
// lines.
absl::StatusOr<Plan> Looking(int quorum, const std::string& more = "",
                             const std::string& shift = "every: 1") {
  std::string text = MinimalPlan();
  const std::string old = "sites: {quorum: 3}";
  text.replace(text.find(old), old.size(),
               "sites: {quorum: " + std::to_string(quorum) + "}");
  return ParsePlanYaml(text + "shift: {" + shift + "}\n" + more, "plan.yaml");
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

TEST(ShiftPlanTest, RemediesSurviveTheirBytes) {
  const auto plan = Looking(
      4,
      "local: {importance_weights: {target: pooled, flatten: 0.25, min_ess: "
      "0.5}}\n"
      "evaluation: {every: 2, compare_local: true, compare_local_every: 4}\n",
      "every: 1, on_shift: apply");
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto again = PlanFromBytes(plan->bytes);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->shift.on_shift, OnShift::kApply);
  EXPECT_EQ(again->importance.target, ImportanceTarget::kPooled);
  EXPECT_EQ(again->importance.flatten, 0.25);
  EXPECT_EQ(again->importance.min_ess, 0.5);
  EXPECT_EQ(again->evaluation.compare_local_every, 4);
}

TEST(ShiftPlanTest, ComparisonsAreMadeWhereModelsAreEvaluated) {
  const auto why = [](const std::string& evaluation) {
    return Why(ParsePlanYaml(
        MinimalPlan() + "evaluation: {" + evaluation + "}\n", "p"));
  };
  EXPECT_THAT(why("every: 2, compare_local: true, compare_local_every: 3"),
              HasSubstr("expected a multiple of it"));
  EXPECT_THAT(why("every: 0, compare_local: true, compare_local_every: 3"),
              HasSubstr("found 3 with evaluation.every 0"));
  EXPECT_THAT(why("compare_local_every: 3"),
              HasSubstr("expected compare_local: true, or 0"));
}

TEST(ShiftPlanTest, ScannersAreCountedWhereLooksSeeImages) {
  const auto plan = Looking(4, "", "every: 1, devices: true");
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_TRUE(PlanFromBytes(plan->bytes)->shift.devices);
  EXPECT_FALSE(Looking(4)->shift.devices);
  EXPECT_THAT(
      Why(ParsePlanYaml(MinimalPlan() + "shift: {devices: true}\n", "p")),
      HasSubstr("shift.devices: found true with shift.every 0"));
  std::string vectors = MinimalPlan();
  const size_t from = vectors.find("backbone:");
  vectors.replace(from, vectors.find("strategy:") - from,
                  "backbone: {architecture: identity, feature_dim: 4}\n");
  const std::string old = "sites: {quorum: 3}";
  vectors.replace(vectors.find(old), old.size(), "sites: {quorum: 4}");
  ASSERT_TRUE(ParsePlanYaml(vectors + "shift: {every: 1}\n", "p").ok());
  EXPECT_THAT(
      Why(ParsePlanYaml(vectors + "shift: {every: 1, devices: true}\n", "p")),
      HasSubstr("shift.devices: found true with backbone.architecture "
                "identity"));
}

TEST(ShiftPlanTest, AKeyThatDoesNothingIsRefused) {
  EXPECT_THAT(Why(ParsePlanYaml(
                  MinimalPlan() + "shift: {false_alarm_rate: 0.01}\n", "p")),
              HasSubstr("shift.false_alarm_rate: found with shift.every 0"));
}

}  // namespace
}  // namespace fedgraft
