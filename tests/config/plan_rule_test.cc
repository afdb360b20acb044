#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/config/plan_loader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/config/plan_text.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<Plan> With(int quorum, const std::string& lines) {
  const std::string sites =
      absl::StrCat("quorum: ", quorum, ", expected: ", quorum);
  return ParsePlanYaml(
      absl::StrReplaceAll(MinimalPlan(), {{"quorum: 3", sites}}) + lines,
      "plan.yaml");
}

TEST(PlanRuleTest, RulesThatFitTheirSitesAreTaken) {
  const char* good[] = {
      "rule: {kind: fed_avgm}\n",
      "rule: {kind: fed_adagrad}\n",
      "rule: {kind: fed_adam}\n",
      "rule: {kind: fed_yogi}\n",
      "rule: {kind: fed_nova}\n",
      "rule: {kind: median}\n",
      "rule: {kind: median, groups: 3}\n",
      "rule: {kind: trimmed_mean}\n",
      "rule: {kind: trimmed_mean, trim_fraction: 0.34, groups: 3}\n",
      "rule: {kind: krum}\n",
      "rule: {kind: multi_krum, selected: 4}\n",
  };
  for (const char* lines : good) {
    const auto plan = With(5, lines);
    EXPECT_TRUE(plan.ok()) << lines << plan.status();
  }
}

TEST(PlanRuleTest, RefusalsNameTheKeyAndWhatIsExpected) {
  struct Case {
    int quorum;
    std::string lines, where, what;
  };
  const Case cases[] = {
      {2, "rule: {kind: median}\n", "sites.quorum", "at least 3"},
      {5, "rule: {kind: fed_avg, groups: 3}\n", "rule.groups",
       "only median and trimmed_mean"},
      {5, "rule: {kind: krum, groups: 3}\n", "rule.groups",
       "only median and trimmed_mean"},
      {5, "rule: {kind: median, groups: 2}\n", "rule.groups", "at least 3"},
      {5, "rule: {kind: median, groups: 6}\n", "rule.groups", "at most the 5"},
      {4, "rule: {kind: trimmed_mean}\n", "rule.trim_fraction", "cuts none"},
      {5, "rule: {kind: trimmed_mean, groups: 4}\n", "rule.trim_fraction",
       "at least 0.25"},
      {4, "rule: {kind: krum}\n", "rule.byzantine_max", "= 5 sites"},
      {6, "rule: {kind: multi_krum, byzantine_max: 2}\n", "rule.byzantine_max",
       "= 7 sites"},
      {5, "rule: {kind: multi_krum, selected: 5}\n", "rule.selected",
       "at most the 4"},
      {5, "rule: {kind: fed_nova}\nlocal: {optimizer: {kind: adamw}}\n",
       "local.optimizer.kind", "expected sgd"},
      {5, "rule: {kind: fed_nova}\nlocal: {regularizers: {fed_prox_mu: 1}}\n",
       "local.regularizers.fed_prox_mu", "expected 0"},
      {5, "rule: {kind: fed_nova}\nlocal: {batch_size: 1}\n",
       "local.batch_size", "2 or more"},
      {5, "rule: {kind: fed_nova}\nupdate: {weighting: uniform}\n",
       "update.weighting", "expected samples"},
      {5, "rule: {kind: krum, selected: 3}\n", "rule.selected",
       "or rule multi_krum"},
      {5, "rule: {kind: fed_avg, momentum: 0.5}\n", "rule.momentum",
       "or rule fed_avgm"},
      {5, "rule: {kind: fed_avgm, beta2: 0.5}\n", "rule.beta2",
       "or rule fed_adam or fed_yogi"},
      {5, "rule: {kind: median, trim_fraction: 0.3}\n", "rule.trim_fraction",
       "or rule trimmed_mean"},
      {5, "rule: {kind: fed_adam, byzantine_max: 2}\n", "rule.byzantine_max",
       "or rule krum or multi_krum"},
      {5, "rule: {kind: scaffold, momentum: 0.5}\n", "rule.momentum",
       "or rule fed_avgm"},
      {5, "rule: {kind: fed_mean}\n", "rule.kind", "multi_krum"},
  };
  for (const Case& bad : cases) {
    const auto plan = With(bad.quorum, bad.lines);
    ASSERT_TRUE(absl::IsInvalidArgument(plan.status())) << bad.lines;
    const std::string message(plan.status().message());
    EXPECT_THAT(message, HasSubstr(bad.where));
    EXPECT_THAT(message, HasSubstr(bad.what));
  }
}

// Everything that the messages ask for at once.
TEST(PlanRuleTest, ScaffoldTakesPlainStepsAndUniformWeights) {
  const std::string good =
      "rule: {kind: scaffold}\nlocal: {optimizer: {momentum: 0}}\n"
      "update: {weighting: uniform, clip_norm: 1}\n";
  for (const char* more :
       {"", "personal: {kind: ditto}\n", "shift: {every: 1, on_shift: apply}\n",
        "privacy: {secure_aggregation: {mode: \"on\"}}\n"}) {
    const auto plan = With(5, good + more);
    EXPECT_TRUE(plan.ok()) << more << plan.status();
  }
  const auto refused = With(5, "rule: {kind: scaffold}\n");
  ASSERT_TRUE(absl::IsInvalidArgument(refused.status()));
  const std::string message(refused.status().message());
  EXPECT_THAT(message, HasSubstr("local.optimizer.momentum: found 0.9"));
  EXPECT_THAT(message, HasSubstr("update.weighting: found samples"));
}

TEST(PlanRuleTest, TheSuggestedTrimFractionIsTaken) {
  for (int quorum = 3; quorum <= 20; ++quorum) {
    const auto refused =
        With(quorum, "rule: {kind: trimmed_mean, trim_fraction: 0.01}\n");
    const std::string message(refused.status().message());
    const size_t at = message.rfind("at least ");
    ASSERT_NE(at, std::string::npos) << message;
    const auto taken =
        With(quorum, absl::StrCat("rule: {kind: trimmed_mean, trim_fraction: ",
                                  message.substr(at + 9), "}\n"));
    EXPECT_TRUE(taken.ok()) << taken.status();
  }
}

TEST(PlanRuleTest, ARuleForNoRoundOfTrainingIsRefused) {
  const auto plan = ParsePlanYaml(
      absl::StrReplaceAll(MinimalPlan(), {{"rounds: 2", "rounds: 0"}}) +
          "solver: {kind: ridge}\nrule: {kind: median}\n",
      "plan.yaml");
  EXPECT_THAT(std::string(plan.status().message()),
              HasSubstr("rule.kind: found median with rounds 0"));
}

TEST(PlanRuleTest, SecureAggregationHidesWhatRobustRulesCompare) {
  for (const char* rule : {"median", "trimmed_mean", "krum", "multi_krum"}) {
    const auto plan =
        With(9, absl::StrCat("rule: {kind: ", rule,
                             "}\nprivacy: {secure_aggregation: {mode: on}}\n"));
    ASSERT_TRUE(absl::IsInvalidArgument(plan.status())) << rule;
    EXPECT_THAT(std::string(plan.status().message()), HasSubstr("rule.groups"));
  }
}

}  // namespace
}  // namespace fedgraft
