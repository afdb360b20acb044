#include <string>

#include "common/config/plan_loader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/config/plan_text.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;

constexpr char kRecord[] = "privacy: {differential_privacy: {kind: record}}\n";
constexpr char kSite[] =
    "privacy: {differential_privacy: {kind: site, noise_multiplier: 0.5}}\n";
constexpr char kSiteUpdate[] =
    "update: {weighting: uniform, clip_norm: 1, range: 4}\n";

absl::StatusOr<Plan> With(const std::string& lines) {
  return ParsePlanYaml(MinimalPlan() + lines, "plan.yaml");
}

TEST(PlanChecksPrivacyTest, AcceptsPlansOfEitherKind) {
  const auto record = With(
      "local: {batch_size: 64, optimizer: {kind: adamw},\n"
      "  regularizers: {l2_sp_beta: 0.1, fed_prox_mu: 0.1},\n"
      "  loss: {label_smoothing: 0.1}}\n"
      "privacy: {differential_privacy: {kind: record, noise_multiplier: 1.1,\n"
      "  record_clip_norm: 0.5, delta: 1e-4}}\n");
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_EQ(record->differential_privacy.kind, DifferentialPrivacy::kRecord);
  EXPECT_EQ(record->differential_privacy.noise_multiplier, 1.1);
  EXPECT_EQ(record->differential_privacy.record_clip_norm, 0.5);
  EXPECT_EQ(record->differential_privacy.delta, 1e-4);
  const auto site = With(std::string(kSite) + kSiteUpdate);
  ASSERT_TRUE(site.ok()) << site.status();
}

// What would let something out without noise is refused, and the message says
// what to do instead.
TEST(PlanChecksPrivacyTest, RefusesWhatHasNoNoise) {
  const struct {
    std::string lines;
    const char* key;
    const char* instead;
  } kCases[] = {
      {"solver: {kind: newton}\n", "solver.kind", "in rounds instead"},
      {"solver: {kind: ridge}\n", "solver.kind", "in rounds instead"},
      {"evaluation: {compare_local: true}\n", "evaluation.compare_local",
       "false"},
      {"evaluation: {split: train}\n", "evaluation.split", "val or test"},
      {"evaluation: {final_split: train}\n", "evaluation.split", "val or test"},
      {"personal: {kind: ditto}\n", "personal.kind", "none"}};
  for (const auto& c : kCases) {
    for (const std::string& kind :
         {std::string(kRecord), std::string(kSite) + kSiteUpdate}) {
      const auto plan = With(c.lines + kind);
      ASSERT_FALSE(plan.ok()) << c.lines;
      EXPECT_THAT(std::string(plan.status().message()), HasSubstr(c.key));
      EXPECT_THAT(std::string(plan.status().message()), HasSubstr(c.instead));
    }
  }
}

TEST(PlanChecksPrivacyTest, RefusesWhatMixesRecords) {
  const struct {
    const char* lines;
    const char* key;
  } kCases[] = {
      {"local: {loss: {class_weights: local}}\n", "local.loss.class_weights"},
      {"local: {loss: {sampling: balanced}}\n", "local.loss.sampling"},
      {"local: {regularizers: {ewc_lambda: 1}}\n",
       "local.regularizers.ewc_lambda"},
      {"local: {gradient_norm_max: 1}\n", "local.gradient_norm_max"},
      {"local: {epochs: 0}\n", "local.epochs"},
      {"local: {accumulate: 2}\n", "local.accumulate"}};
  for (const auto& c : kCases) {
    EXPECT_TRUE(With(c.lines).ok()) << c.lines;
    const auto plan = With(std::string(c.lines) + kRecord);
    ASSERT_FALSE(plan.ok()) << c.lines;
    EXPECT_THAT(std::string(plan.status().message()), HasSubstr(c.key));
  }
  const std::string partial =
      MinimalPlan().substr(0, MinimalPlan().find("strategy:"));
  for (const char* policy : {"local", "pooled"}) {
    const auto plan = ParsePlanYaml(
        partial + "strategy: {kind: partial, unfreeze_blocks: 1, batch_norm: " +
            policy + "}\n" + kRecord,
        "plan.yaml");
    ASSERT_FALSE(plan.ok()) << policy;
    EXPECT_THAT(std::string(plan.status().message()),
                HasSubstr("strategy.batch_norm"));
  }
}

TEST(PlanChecksPrivacyTest, SitePrivacyNeedsABoundThatDataCannotMove) {
  const struct {
    const char* update;
    const char* key;
  } kCases[] = {
      {"update: {weighting: samples, clip_norm: 1}\n", "update.weighting"},
      {"update: {weighting: uniform}\n", "update.clip_norm"},
      {"update: {weighting: uniform, clip_norm: 1, rounding: stochastic}\n",
       "update.rounding"},
      // 1 + 10 * 0.5 / sqrt(3) = 3.9
      {"update: {weighting: uniform, clip_norm: 1, range: 3.8}\n",
       "update.range"}};
  for (const auto& c : kCases) {
    const auto plan = With(std::string(kSite) + c.update);
    ASSERT_FALSE(plan.ok()) << c.update;
    EXPECT_THAT(std::string(plan.status().message()), HasSubstr(c.key));
  }
}

}  // namespace
}  // namespace fedgraft
