#include <map>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/federation.h"

namespace fedgraft::testing {
namespace {

using ::testing::HasSubstr;

constexpr char kSecure[] = "privacy: {secure_aggregation: {mode: \"on\"}}";

bool HasMasks(const std::string& lines) {
  return lines.find(kSecure) != std::string::npos;
}

// By a plan with masks, with every site's roster pinned; else with none.
std::string ModelOf(PlanText plan) {
  Federation federation(3);
  if (HasMasks(plan.more)) federation.PinRosters();
  EXPECT_TRUE(federation.StartAggregator());
  federation.StartSites();
  plan.architecture = "identity";
  plan.evaluation = "every: 1";
  const CommandResult start = federation.RunStart(plan);
  EXPECT_EQ(start.exit_code, 0) << start.err;
  EXPECT_TRUE(federation.WaitFinished(absl::Seconds(60))) << federation.Logs();
  EXPECT_EQ(federation.FinalModelOf(2), federation.Model());
  return federation.Model();
}

TEST(SecureRunTest, AMaskedRunGivesTheModelOfAnUnmaskedOne) {
  PlanText plan;
  const std::string plain = ModelOf(plan);
  plan.more = kSecure;
  EXPECT_EQ(ModelOf(plan), plain);
}

// Exact head, gathered class counts and Fisher information, and a rule with a
// sum of its own.
TEST(SecureRunTest, EverySumOfARunCanBeMasked) {
  PlanText plan;
  plan.strategy = "kind: feature_extraction, hidden_dim: 3";
  plan.more =
      "solver: {kind: newton, lambdas: [10, 1]}\n"
      "rule: {kind: fed_nova}\n"
      "local: {loss: {class_weights: federated}, "
      "regularizers: {ewc_lambda: 1, ewc_records: federated}}\n";
  const std::string plain = ModelOf(plan);
  plan.more += kSecure;
  EXPECT_EQ(ModelOf(plan), plain);
}

// What the look at shift of a run of four sites came to: its published
// metrics.
std::map<std::string, double> Verdicts(const std::string& more) {
  Federation federation(4);
  // The last one keeps its scanners in.
  for (int i = 0; i < 3; ++i) {
    federation.ConfigureSite(i,
                             {"policy: {cohort_min: 2, share_devices: true}"});
  }
  if (HasMasks(more)) federation.PinRosters();
  EXPECT_TRUE(federation.StartAggregator());
  federation.StartSites();
  PlanText plan;
  plan.architecture = "mobilenet_v2";
  plan.quorum = 4;
  plan.rounds = 1;  // later looks have no news
  plan.more = "shift: {every: 1, devices: true}\n" + more;
  const CommandResult start = federation.RunStart(plan);
  EXPECT_EQ(start.exit_code, 0) << start.err;
  EXPECT_TRUE(federation.WaitFinished(absl::Seconds(60))) << federation.Logs();
  pb::StatusReply status;
  EXPECT_TRUE(federation.WaitFor([&status](const auto& now) {
    status = now;
    return true;
  }));
  std::map<std::string, double> verdicts;
  EXPECT_FALSE(status.history().empty());
  for (const auto& [name, value] :
       status.history(status.history_size() - 1).metrics()) {
    if (name.starts_with("shift_s")) verdicts[name] = value;
  }
  return verdicts;
}

TEST(SecureRunTest, LooksAtShiftSayTheSameMasked) {
  const auto plain = Verdicts("");
  ASSERT_TRUE(plain.contains("shift_sites"));
  EXPECT_EQ(plain.at("shift_sites"), 4);
  EXPECT_EQ(plain.at("shift_scanners_agfa"), 60);
  EXPECT_EQ(plain.at("shift_scanners_canon"), 60);
  EXPECT_EQ(plain.at("shift_scanners_not_told"), 40);
  EXPECT_EQ(Verdicts(kSecure), plain);
}

TEST(SecureRunTest, AKilledAggregatorGoesOnWithTheSum) {
  Federation federation(3);
  federation.PinRosters();
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  PlanText plan;
  plan.architecture = "identity";
  plan.rounds = 40;
  plan.more = kSecure;
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  for (uint32_t round : {3u, 11u, 24u}) {
    ASSERT_TRUE(federation.WaitFor(
        [round](const auto& status) { return status.round() >= round; },
        absl::Seconds(60)))
        << federation.Logs();
    federation.KillAggregator();
    ASSERT_TRUE(federation.StartAggregator());
  }
  ASSERT_TRUE(federation.WaitFinished(absl::Seconds(60))) << federation.Logs();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(federation.FinalModelOf(i), federation.Model());
  }
}

TEST(SecureRunTest, ASiteThatPinnedNobodyRefusesTheRun) {
  Federation federation(3);
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSite(0);
  PlanText plan;
  plan.architecture = "identity";
  plan.more = kSecure;
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  EXPECT_TRUE(federation.WaitFor([&](const auto&) {
    return federation.SiteLog(0).find("no roster is pinned") !=
           std::string::npos;
  })) << federation.Logs();
}

TEST(AutomaticMasksTest, SitesThatPinnedOneRosterAreMaskedByDefault) {
  PlanText plan;
  plan.architecture = "identity";
  plan.evaluation = "every: 1";
  const std::string plain = ModelOf(plan);
  Federation federation(3);
  federation.PinRosters();
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(federation.WaitFinished(absl::Seconds(60))) << federation.Logs();
  EXPECT_THAT(federation.Status().masks(), HasSubstr("updates are masked"));
  EXPECT_THAT(ReadFileOrEmpty(federation.SitePath(0, "state/audit.log")),
              HasSubstr("train, unmask, attempt 1"));
  EXPECT_EQ(federation.Model(), plain);
}

TEST(AutomaticMasksTest, WithoutRostersItIsSaidThatUpdatesAreNotMasked) {
  Federation federation(3);
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  PlanText plan;
  plan.architecture = "identity";
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(federation.WaitFinished(absl::Seconds(60))) << federation.Logs();
  const std::string said = "updates are NOT masked";
  EXPECT_THAT(federation.Status().masks(), HasSubstr(said));
  EXPECT_THAT(federation.AggregatorLog(), HasSubstr(said));
  EXPECT_THAT(federation.SiteLog(1), HasSubstr(said));
  EXPECT_THAT(ReadFileOrEmpty(federation.SitePath(1, "state/audit.log")),
              HasSubstr(said));
}

// The others, or an aggregator that says so, cannot talk it out of its masks.
TEST(AutomaticMasksTest, ASiteThatPinnedARosterLetsNothingOutWithoutMasks) {
  Federation federation(3);
  federation.PinRoster(0);
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  PlanText plan;
  plan.architecture = "identity";
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(federation.WaitFor([](const auto& status) {
    return status.sites_size() == 3 &&
           status.sites(0).last_refusal().find(
               "policy.secure_aggregation: round 1 asks for an update without "
               "masks") != std::string::npos;
  })) << federation.Logs();
  EXPECT_TRUE(federation.UploadedBytes(0, "train").empty());
  EXPECT_THAT(federation.Status().masks(), HasSubstr("1 of 3 sites"));
}

}  // namespace
}  // namespace fedgraft::testing
