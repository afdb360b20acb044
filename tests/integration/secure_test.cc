#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/federation.h"

namespace fedgraft::testing {
namespace {

using ::testing::HasSubstr;

constexpr char kSecure[] = "privacy: {secure_aggregation: {mode: \"on\"}}";

std::string ModelOf(const std::string& more) {
  Federation federation(3);
  federation.PinRosters();
  EXPECT_TRUE(federation.StartAggregator());
  federation.StartSites();
  PlanText plan;
  plan.architecture = "identity";
  plan.evaluation = "every: 1";
  plan.more = more;
  const CommandResult start = federation.RunStart(plan);
  EXPECT_EQ(start.exit_code, 0) << start.err;
  EXPECT_TRUE(federation.WaitFinished(absl::Seconds(60))) << federation.Logs();
  EXPECT_EQ(federation.FinalModelOf(2), federation.Model());
  return federation.Model();
}

TEST(SecureRunTest, AMaskedRunGivesTheModelOfAnUnmaskedOne) {
  const std::string plain = ModelOf("");
  EXPECT_EQ(ModelOf(kSecure), plain);
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

}  // namespace
}  // namespace fedgraft::testing
