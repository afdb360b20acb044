#include "client/policy/site_policy.h"

#include <cmath>
#include <limits>

#include "client/policy/policy_config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/config.pb.h"

namespace fedgraft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

Digest DigestOf(uint8_t fill) {
  Digest digest;
  digest.bytes.fill(fill);
  return digest;
}

Plan AllowedPlan() {
  Plan plan;
  plan.rounds = 10;
  plan.quorum = 3;
  plan.strategy = StrategyKind::kPartial;
  plan.hash = DigestOf(7);
  return plan;
}

TEST(CheckPlanTest, AllowsWhatTheDefaultsAllow) {
  EXPECT_TRUE(CheckPlan(SitePolicy(), AllowedPlan()).ok());
}

TEST(CheckPlanTest, NamesKeyWantedAndAllowed) {
  struct Case {
    const char* name;
    void (*change)(SitePolicy&, Plan&);
    const char* key;
    const char* wanted;
    const char* allowed;
  };
  const Case cases[] = {
      {"strategy",
       [](SitePolicy& policy, Plan&) {
         policy.strategies = {StrategyKind::kLinearProbe, StrategyKind::kFull};
       },
       "policy.strategies", "partial", "linear_probe, full"},
      {"rounds", [](SitePolicy&, Plan& plan) { plan.rounds = 1001; },
       "policy.rounds_max", "1001 rounds", "at most 1000"},
      {"solver",
       [](SitePolicy& policy, Plan& plan) {
         plan.solver.kind = SolverKind::kNewton;
         policy.exact_statistics = false;
       },
       "policy.exact_statistics", "exact sums of features", "none"},
      {"solver rounds",
       [](SitePolicy& policy, Plan& plan) {
         plan.solver.kind = SolverKind::kNewton;
         plan.solver.rounds_max = 200;
         policy.rounds_max = 209;
       },
       "policy.rounds_max", "210 rounds", "at most 209"},
      {"statistics",
       [](SitePolicy& policy, Plan& plan) {
         plan.loss.class_weights = ClassWeights::kFederated;
         plan.regularizers.ewc_federated = true;
         policy.exact_statistics = false;
       },
       "policy.exact_statistics", "(class_counts, fisher)", "none"},
      {"gathering round",
       [](SitePolicy& policy, Plan& plan) {
         plan.loss.class_weights = ClassWeights::kFederated;
         policy.rounds_max = 10;
       },
       "policy.rounds_max", "11 rounds", "at most 10"},
      {"budget",
       [](SitePolicy& policy, Plan&) { policy.budget.epsilon_max = 3; },
       "policy.epsilon_max", "without differential privacy",
       "a budget of epsilon 3"},
      {"masks",
       [](SitePolicy& policy, Plan& plan) {
         policy.secure_aggregation = MaskPolicy::kRequired;
         plan.secure_aggregation.mode = SecureMode::kOff;
       },
       "policy.secure_aggregation", "opened by the aggregator",
       "masked updates only"},
      {"cohort", [](SitePolicy&, Plan& plan) { plan.quorum = 2; },
       "policy.cohort_min", "quorum of 2", "no fewer than 3"},
      {"plan", [](SitePolicy& policy, Plan&) { policy.plans = {DigestOf(8)}; },
       "policy.plans", "0707070707", "1 listed"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    SitePolicy policy;
    Plan plan = AllowedPlan();
    c.change(policy, plan);
    const absl::Status status = CheckPlan(policy, plan);
    EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.key));
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.wanted));
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.allowed));
  }
}

TEST(CheckPlanTest, AllowsValuesAtTheirBounds) {
  SitePolicy policy;
  policy.rounds_max = 10;
  policy.cohort_min = 3;
  policy.strategies = {StrategyKind::kPartial};
  policy.plans = {DigestOf(7), DigestOf(9)};
  EXPECT_TRUE(CheckPlan(policy, AllowedPlan()).ok());
}

TEST(CheckPlanTest, ABudgetAllowsPlansThatItCanCount) {
  SitePolicy policy;
  policy.budget.epsilon_max = 3;
  Plan plan = AllowedPlan();
  plan.differential_privacy.kind = DifferentialPrivacy::kRecord;
  EXPECT_TRUE(CheckPlan(policy, plan).ok());
}

TEST(CheckSamplesTest, RefusesTooFewImages) {
  SitePolicy policy;
  policy.samples_min = 10;
  EXPECT_TRUE(CheckSamples(policy, 10).ok());
  const absl::Status status = CheckSamples(policy, 9);
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(status.message()), HasSubstr("policy.samples_min"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("9 training images"));
}

TEST(FilterScalarsTest, LetsNothingOutUnlessTheKeyIsSet) {
  EXPECT_THAT(FilterScalars(SitePolicy(), {{"auc", 0.9}}), IsEmpty());
}

TEST(FilterScalarsTest, KeepsOnlyFiniteNumbersUnderPlainNames) {
  SitePolicy policy;
  policy.share_site_scalars = true;
  EXPECT_THAT(FilterScalars(policy, {{"auc", 0.9},
                                     {"n", 120},
                                     {"nan", std::nan("")},
                                     {"infinite",
                                      std::numeric_limits<double>::infinity()},
                                     {"Patient Name", 1},
                                     {"", 1},
                                     {std::string(65, 'a'), 1}}),
              ElementsAre(Pair("auc", 0.9), Pair("n", 120)));
}

TEST(FilterScalarsTest, BoundsTheirNumber) {
  SitePolicy policy;
  policy.share_site_scalars = true;
  std::map<std::string, double> many;
  for (int i = 0; i < 1000; ++i) many["s" + std::to_string(i)] = i;
  EXPECT_EQ(FilterScalars(policy, many).size(), kSharedScalarsMax);
}

TEST(PolicyFromConfigTest, TakesDefaultsForWhatIsNotSet) {
  const auto policy = PolicyFromConfig(pb::PolicyConfig());
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_EQ(policy->rounds_max, 1000);
  EXPECT_EQ(policy->cohort_min, 3);
  EXPECT_EQ(policy->samples_min, 10u);
  EXPECT_FALSE(policy->share_site_scalars);
  EXPECT_FALSE(policy->share_devices);
  EXPECT_THAT(policy->strategies, IsEmpty());
  EXPECT_THAT(policy->plans, IsEmpty());
  EXPECT_EQ(policy->budget.epsilon_max, 0);
  EXPECT_EQ(policy->budget.delta, 1e-5);
  EXPECT_EQ(policy->budget.data_set, "default");
}

TEST(PolicyFromConfigTest, ReadsEveryKey) {
  pb::PolicyConfig config;
  config.add_strategies("linear_probe");
  config.set_rounds_max(5);
  config.set_cohort_min(4);
  config.set_samples_min(20);
  config.set_share_site_scalars(true);
  config.set_share_devices(true);
  config.add_plans(DigestOf(7).Hex());
  config.set_epsilon_max(2.5);
  config.set_delta(1e-4);
  config.set_data_set("breast-2026");
  const auto policy = PolicyFromConfig(config);
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_THAT(policy->strategies, ElementsAre(StrategyKind::kLinearProbe));
  EXPECT_EQ(policy->rounds_max, 5);
  EXPECT_EQ(policy->cohort_min, 4);
  EXPECT_EQ(policy->samples_min, 20u);
  EXPECT_TRUE(policy->share_site_scalars);
  EXPECT_TRUE(policy->share_devices);
  EXPECT_EQ(policy->budget.epsilon_max, 2.5);
  EXPECT_EQ(policy->budget.delta, 1e-4);
  EXPECT_EQ(policy->budget.data_set, "breast-2026");
  EXPECT_THAT(policy->plans, ElementsAre(DigestOf(7)));
}

TEST(PolicyFromConfigTest, RefusesWhatItCannotRead) {
  pb::PolicyConfig config;
  config.add_strategies("linear");
  EXPECT_THAT(std::string(PolicyFromConfig(config).status().message()),
              HasSubstr("'linear' is none of linear_probe, feature_extraction, "
                        "partial, full, adapter"));
  config.Clear();
  config.add_plans("abc");
  EXPECT_THAT(std::string(PolicyFromConfig(config).status().message()),
              HasSubstr("policy.plans"));
  config.Clear();
  config.set_cohort_min(-1);
  EXPECT_THAT(std::string(PolicyFromConfig(config).status().message()),
              HasSubstr("policy.cohort_min"));
  // The name is a file's.
  for (const char* name : {"../other", "A", "a b", "a.b"}) {
    config.Clear();
    config.set_data_set(name);
    EXPECT_THAT(std::string(PolicyFromConfig(config).status().message()),
                HasSubstr("policy.data_set"));
  }
  config.Clear();
  config.set_epsilon_max(-1);
  EXPECT_THAT(std::string(PolicyFromConfig(config).status().message()),
              HasSubstr("policy.epsilon_max"));
}

}  // namespace
}  // namespace fedgraft
