// Rounds by other rules than the mean: what a rule remembers survives, and what
// comes out does not depend on who came first.

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/round/round_world.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::IsOk;
using ::fedgraft::testing::PlanSpec;
using ::fedgraft::testing::RoundWorld;
using ::fedgraft::testing::TestSite;

// Several shards, so that all workers take part.
constexpr int64_t kLarge = 70'000;
constexpr int kRounds = 3;

class RuleRoundsTest : public ::testing::TestWithParam<std::string> {
 protected:
  PlanSpec Spec() const {
    PlanSpec spec;
    spec.rounds = kRounds;
    spec.quorum = spec.expected = 5;
    spec.rule = GetParam();
    return spec;
  }
  std::vector<const TestSite*> All() const { return {&a_, &b_, &c_, &d_, &e_}; }
  std::vector<const TestSite*> Reversed() const {
    return {&e_, &d_, &c_, &b_, &a_};
  }
  // The final model when nothing happens.
  Digest Undisturbed(int64_t extra) const {
    RoundWorld world(3);
    EXPECT_THAT(world.Open(), IsOk());
    world.StartRun(Spec(), extra);
    world.JoinAll(All());
    for (int round = 0; round < kRounds; ++round) world.Contribute(All());
    EXPECT_EQ(world.state(), "finished");
    return world.Snapshot().model;
  }

  const TestSite a_{"a"}, b_{"b"}, c_{"c"}, d_{"d"}, e_{"e"};
};

INSTANTIATE_TEST_SUITE_P(
    Rules, RuleRoundsTest,
    ::testing::Values("kind: fed_avgm", "kind: fed_adagrad",
                      "kind: fed_adam, server_learning_rate: 0.01",
                      "kind: fed_yogi, server_learning_rate: 0.01",
                      "kind: fed_nova", "kind: scaffold", "kind: median",
                      "kind: median, groups: 3", "kind: trimmed_mean",
                      "kind: krum", "kind: multi_krum, selected: 2"));

TEST_P(RuleRoundsTest, APowerFailureBetweenAnyTwoStepsChangesNothing) {
  for (const int64_t extra : {int64_t{0}, kLarge}) {
    RoundWorld world;
    ASSERT_THAT(world.Open(), IsOk());
    world.StartRun(Spec(), extra);
    world.JoinAll(All());
    for (int round = 0; round < kRounds; ++round) {
      for (const TestSite* site : Reversed()) {
        world.Contribute({site});
        world.Crash();
        ASSERT_THAT(world.Open(), IsOk());
        world.Run();
      }
    }
    EXPECT_EQ(world.state(), "finished");
    EXPECT_EQ(world.Snapshot().model, Undisturbed(extra));
  }
}

TEST_P(RuleRoundsTest, OneStateIsKeptAndNoneOnceTheRunHasEnded) {
  RoundWorld world;
  ASSERT_THAT(world.Open(), IsOk());
  world.StartRun(Spec(), kLarge);
  world.JoinAll(All());
  const bool remembers = GetParam().find("fed_a") != std::string::npos ||
                         GetParam().find("fed_yogi") != std::string::npos;
  const auto blobs = [&world] {
    world.Run();
    return world.files.List("blobs")->size();
  };
  const size_t before = blobs();
  world.Contribute(All());
  // The new model beside the initial one, and the state.
  const size_t after_first = blobs();
  EXPECT_EQ(after_first, before + (remembers ? 2u : 1u));
  world.Contribute(All());
  EXPECT_EQ(blobs(), after_first);
  world.Contribute(All());
  EXPECT_EQ(world.state(), "finished");
  EXPECT_EQ(blobs(), before + 1);
}

TEST_P(RuleRoundsTest, WhatWasGatheredGoesWithTheRun) {
  RoundWorld world;
  ASSERT_THAT(world.Open(), IsOk());
  PlanSpec spec = Spec();
  spec.gathers = true;
  world.StartRun(spec, kLarge);
  world.JoinAll(All());
  world.Run();
  const size_t before = world.files.List("blobs")->size();
  world.Contribute(All());  // gathers
  world.Run();
  // With scaffold class counts alone, which are small.
  const size_t gathered = GetParam() == testing::kScaffold ? 0 : 1;
  EXPECT_EQ(world.files.List("blobs")->size(), before + gathered);
  for (int round = 0; round < 3; ++round) world.Contribute(All());
  world.Run();
  EXPECT_EQ(world.state(), "finished");
  EXPECT_EQ(world.files.List("blobs")->size(), before + 1);  // the final model
}

TEST_P(RuleRoundsTest, HistoryTellsHowMuchOfEachSiteWasUsed) {
  RoundWorld world;
  ASSERT_THAT(world.Open(), IsOk());
  world.StartRun(Spec(), kLarge);
  world.JoinAll(All());
  world.Contribute(All());
  world.Crash();
  ASSERT_THAT(world.Open(), IsOk());
  ASSERT_EQ(world.coordinator().History().size(), 1u);
  const auto& influence = world.coordinator().History()[0].influence;
  if (GetParam().find("fed_") != std::string::npos ||
      GetParam() == testing::kScaffold) {
    EXPECT_TRUE(influence.empty());
    return;
  }
  ASSERT_EQ(influence.size(), 5u);
  double sum = 0;
  for (const auto& [site, share] : influence) sum += share;
  EXPECT_NEAR(sum, 5, 1e-9);
}

}  // namespace
}  // namespace fedgraft
