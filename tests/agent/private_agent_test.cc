#include <string>

#include "client/agent/agent_state.h"
#include "client/privacy/budget_ledger.h"
#include "common/base/check.h"
#include "common/config/plan_loader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/agent/agent_world.h"

// A site under differential privacy: the ledger comes before the update.

namespace fedgraft::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

constexpr char kLedger[] = "privacy/default.json";

void MakePrivate(AgentWorld& world, const std::string& kind) {
  // Batches of everybody: what they cost has a closed form, which is quick.
  const std::string update =
      kind == "site"
          ? "update: {weighting: uniform, clip_norm: 0.5, range: 4}\n"
          : "local: {batch_size: 64}\n";
  auto plan = ParsePlanYaml(
      "version: 1\nname: test\nrounds: 5\nsites: {quorum: 3}\n"
      "task: {classes: [normal, abnormal]}\n"
      "backbone: {architecture: resnet18, sha256: " +
          world.aggregator.plan.backbone.Hex() +
          "}\nstrategy: {kind: linear_probe}\n"
          "privacy: {differential_privacy: {kind: " +
          kind + "}}\n" + update,
      "plan.yaml");
  FG_CHECK(plan.ok());
  world.aggregator.plan = *std::move(plan);
  world.aggregator.Sign();
}

void OfferRounds(AgentWorld& world, uint32_t rounds) {
  for (uint32_t round = 1; round <= rounds; ++round) {
    world.aggregator.Offer(world.aggregator.MakeTask(round, TaskKind::kTrain));
  }
}

ReleaseCost CostOf(AgentWorld& world) {
  const auto cost = CostOfRound(world.aggregator.plan, world.trainer.samples, 8,
                                Observer::kAggregator);
  FG_CHECK(cost.ok());
  return *cost;
}

double EpsilonOfRounds(AgentWorld& world, double rounds) {
  return rounds == 0 ? 0
                     : TotalEpsilon({{CostOf(world), rounds}}, 1e-5).epsilon;
}

double Spent(AgentWorld& world) {
  BudgetLedger ledger(world.files, world.options.policy.budget);
  const auto spent = ledger.Spent();
  FG_CHECK(spent.ok());
  return *spent;
}

class PrivateAgentTest : public ::testing::TestWithParam<const char*> {};

TEST_P(PrivateAgentTest, WhatIsSpentIsToldOnlyIfThePolicyLetsScalarsOut) {
  for (const bool share : {false, true}) {
    AgentWorld world;
    world.options.policy.share_site_scalars = share;
    world.options.policy.budget.epsilon_max = 1e5;
    MakePrivate(world, GetParam());
    OfferRounds(world, 2);
    world.Start();
    ASSERT_TRUE(world.RunToEnd());
    ASSERT_EQ(world.aggregator.reports.size(), share ? 2u : 0u);
    if (!share) continue;
    const auto& scalars = world.aggregator.reports.back().scalars;
    EXPECT_DOUBLE_EQ(scalars.at("privacy_epsilon"), EpsilonOfRounds(world, 2));
    EXPECT_DOUBLE_EQ(scalars.at("privacy_epsilon_max"), 1e5);
    EXPECT_DOUBLE_EQ(scalars.at("privacy_delta"), 1e-5);
  }
}

TEST_P(PrivateAgentTest, EachUpdateIsChargedOnce) {
  AgentWorld world;
  MakePrivate(world, GetParam());
  OfferRounds(world, 3);
  world.Start();
  ASSERT_TRUE(world.RunToEnd());
  ASSERT_TRUE(world.ended->ok()) << *world.ended;
  EXPECT_EQ(world.aggregator.acknowledged.size(), 3u);
  EXPECT_DOUBLE_EQ(Spent(world), EpsilonOfRounds(world, 3));
  EXPECT_THAT(world.audit.Names(), Contains("privacy_charge"));
  EXPECT_THAT(world.audit.Detail("privacy_charge"),
              HasSubstr("data set default: epsilon"));
}

TEST_P(PrivateAgentTest, ASpentBudgetDeclinesTheTaskAndTellsTheAggregator) {
  AgentWorld world;
  MakePrivate(world, GetParam());
  world.options.policy.budget.epsilon_max = EpsilonOfRounds(world, 2) * 1.001;
  OfferRounds(world, 3);
  world.Start();
  world.loop.RunFor(absl::Minutes(1));
  EXPECT_EQ(world.aggregator.acknowledged.size(), 2u);
  EXPECT_EQ(world.trainer.trained.count(3), 0u);  // refused before the work
  ASSERT_EQ(world.aggregator.reports.size(), 1u);
  EXPECT_EQ(world.aggregator.reports[0].round.value, 3u);
  EXPECT_THAT(world.aggregator.reports[0].declined,
              HasSubstr("policy.epsilon_max: data set default has spent"));
  EXPECT_LE(Spent(world), world.options.policy.budget.epsilon_max);
}

TEST_P(PrivateAgentTest, ARestartDoesNotForgetWhatWasSpent) {
  AgentWorld world;
  MakePrivate(world, GetParam());
  world.options.policy.budget.epsilon_max = EpsilonOfRounds(world, 2) * 1.001;
  OfferRounds(world, 1);
  world.Start();
  ASSERT_TRUE(world.RunToEnd());
  world.Kill();
  world.ended.reset();
  // Another run of the same plan.
  world.aggregator.run->run = RunId{"run-2"};
  world.aggregator.finished.run = RunId{"run-2"};
  world.aggregator.Sign();
  OfferRounds(world, 2);
  world.Start();
  world.loop.RunFor(absl::Minutes(1));
  EXPECT_EQ(world.aggregator.acknowledged.size(), 2u);
  ASSERT_EQ(world.aggregator.reports.size(), 1u);
  EXPECT_DOUBLE_EQ(Spent(world), EpsilonOfRounds(world, 2));
}

TEST_P(PrivateAgentTest, ALedgerThatCannotBeReadStopsTheSite) {
  AgentWorld world;
  MakePrivate(world, GetParam());
  world.files.SetContent(kLedger, Bytes(10, 'x'));
  OfferRounds(world, 1);
  world.Start();
  world.loop.RunFor(absl::Minutes(2));
  EXPECT_TRUE(world.aggregator.acknowledged.empty());
  EXPECT_TRUE(world.aggregator.received.empty());
  EXPECT_TRUE(world.trainer.trained.empty());
}

// The process dies at every event, or the machine loses power at every
// operation of its disk: of each update of which a byte left, the cost is in
// the ledger. Charged and not sent is allowed.
TEST_P(PrivateAgentTest, NoCrashSendsWhatWasNotCharged) {
  uint64_t operations = 0;
  {
    AgentWorld world;
    MakePrivate(world, GetParam());
    OfferRounds(world, 2);
    world.Start();
    ASSERT_TRUE(world.RunToEnd());
    operations = world.files.operations();
  }
  ASSERT_GT(operations, 10u);
  for (uint64_t k = 1; k <= operations; ++k) {
    SCOPED_TRACE(k);
    AgentWorld world;
    MakePrivate(world, GetParam());
    OfferRounds(world, 2);
    world.files.HaltAfter(k);
    world.Start();
    world.loop.RunFor(absl::Seconds(2));
    world.Kill();
    world.files.Crash(k);
    const double sent = static_cast<double>(world.aggregator.received.size());
    EXPECT_GE(Spent(world), EpsilonOfRounds(world, sent) * (1 - 1e-12));
    if (ReadFinishedRun(world.files, RunId{"run-1"}).ok()) continue;
    world.ended.reset();
    world.Start();
    ASSERT_TRUE(world.RunToEnd());
    const double all = static_cast<double>(world.aggregator.received.size());
    EXPECT_GE(all, 2);
    EXPECT_GE(Spent(world), EpsilonOfRounds(world, all) * (1 - 1e-12));
  }
}

TEST(PrivateAgentPolicyTest, ABudgetRefusesPlansWithoutNoise) {
  AgentWorld world;
  world.options.policy.budget.epsilon_max = 3;
  OfferRounds(world, 1);
  world.Start();
  ASSERT_TRUE(world.RunToEnd());
  EXPECT_TRUE(absl::IsPermissionDenied(*world.ended)) << *world.ended;
  EXPECT_THAT(std::string(world.ended->message()),
              HasSubstr("policy.epsilon_max"));
  EXPECT_TRUE(world.aggregator.received.empty());
}

TEST(PrivateAgentPolicyTest, AnotherNumberOfImagesThanChargedIsNotSent) {
  AgentWorld world;
  MakePrivate(world, "record");
  OfferRounds(world, 2);
  world.Start();
  ASSERT_TRUE(world.loop.RunUntilTrue(
      [&] {
        return world.trainer.configured > 0 &&
               world.aggregator.Count("NextTask") > 0;
      },
      absl::Minutes(1)));
  world.trainer.samples = 32;
  world.loop.RunFor(absl::Minutes(1));
  EXPECT_TRUE(world.aggregator.received.empty());
  EXPECT_THAT(world.audit.Detail("task_failed"),
              HasSubstr("trained on 32 images"));
}

INSTANTIATE_TEST_SUITE_P(Kinds, PrivateAgentTest,
                         ::testing::Values("record", "site"),
                         [](const auto& info) {
                           return std::string(info.param);
                         });

}  // namespace
}  // namespace fedgraft::testing
