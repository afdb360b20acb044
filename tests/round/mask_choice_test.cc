#include "aggregator/round/mask_choice.h"

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "aggregator/round/run_state.h"
#include "common/secagg/messages.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/round/round_world.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::IsOk;
using ::fedgraft::testing::MakeLayout;
using ::fedgraft::testing::MakePlan;
using ::fedgraft::testing::PlanSpec;
using ::fedgraft::testing::RoundWorld;
using ::fedgraft::testing::TestSite;
using ::testing::HasSubstr;

using Rosters = std::map<SiteId, std::optional<Digest>>;

Digest RosterOf(uint8_t byte) {
  Digest digest;
  digest.bytes.fill(byte);
  return digest;
}

PlanSpec Automatic(int quorum, int expected) {
  PlanSpec spec;
  spec.masks = "auto";
  spec.quorum = quorum;
  spec.expected = expected;
  return spec;
}

MaskChoice Choose(const Rosters& rosters, int quorum = 3, int expected = 5) {
  return ChooseMasks(MakePlan(Automatic(quorum, expected)), rosters);
}

TEST(MaskChoiceTest, IsOnIfAllHavePinnedOneRoster) {
  const MaskChoice choice = Choose(
      {{{"a"}, RosterOf(1)}, {{"b"}, RosterOf(1)}, {{"c"}, RosterOf(1)}});
  EXPECT_TRUE(choice.is_on);
  EXPECT_EQ(choice.remark, "");
  EXPECT_THAT(choice.ToText(), HasSubstr("updates are masked"));
}

TEST(MaskChoiceTest, IsOffAndSaysWhereNoneIsPinnedIfTooFewHave) {
  const MaskChoice choice = Choose(
      {{{"a"}, RosterOf(1)}, {{"b"}, std::nullopt}, {{"c"}, RosterOf(1)}});
  EXPECT_FALSE(choice.is_on);
  EXPECT_EQ(choice.ToText(),
            "updates are NOT masked, the aggregator opens each of them: 2 of 3 "
            "sites have pinned one and the same roster, expected at least 3; "
            "not pinned at: b");
}

TEST(MaskChoiceTest, TwoRostersAreNotOne) {
  EXPECT_FALSE(
      Choose({{{"a"}, RosterOf(1)}, {{"b"}, RosterOf(2)}, {{"c"}, RosterOf(1)}})
          .is_on);
}

TEST(MaskChoiceTest, ThoseWithoutAreLeftOutIfTheOthersAreEnough) {
  const MaskChoice choice = Choose({{{"a"}, RosterOf(1)},
                                    {{"b"}, std::nullopt},
                                    {{"c"}, RosterOf(1)},
                                    {{"d"}, RosterOf(1)}});
  EXPECT_TRUE(choice.is_on);
  EXPECT_THAT(choice.ToText(), HasSubstr("not pinned at b"));
}

TEST(MaskChoiceTest, AQuorumBelowThreeIsNeverMasked) {
  const MaskChoice choice = Choose(
      {{{"a"}, RosterOf(1)}, {{"b"}, RosterOf(1)}, {{"c"}, RosterOf(1)}}, 2);
  EXPECT_FALSE(choice.is_on);
  EXPECT_THAT(choice.remark, HasSubstr("a quorum of 2"));
}

TEST(MaskChoiceTest, ThePlansWordCounts) {
  PlanSpec spec;
  spec.masks = "on";
  EXPECT_TRUE(ChooseMasks(MakePlan(spec), {}).is_on);
  spec.masks = "off";
  EXPECT_FALSE(ChooseMasks(MakePlan(spec), {{{"a"}, RosterOf(1)}}).is_on);
}

class RunMasksTest : public ::testing::Test {
 protected:
  void Apply(Record record) {
    ASSERT_THAT(state_.Apply({absl::UnixEpoch(), std::move(record)}, ++number_),
                IsOk());
  }
  void Open() {
    RunOpened record;
    record.run = {"run1"};
    record.plan = MakePlan(Automatic(3, 4)).bytes;
    record.initial_model.bytes.fill(1);
    record.layout = MakeLayout();
    Apply(record);
  }

  RunState state_;
  uint64_t number_ = 0;
};

TEST_F(RunMasksTest, AreChosenWhenTheFirstRoundOpensAndStay) {
  Open();
  for (const char* site : {"a", "b"}) {
    Apply(SiteJoined{{site}, RosterOf(1)});
  }
  Apply(SiteJoined{{"c"}});
  EXPECT_FALSE(state_.masks().has_value());
  Apply(SiteJoined{{"c"}, RosterOf(1)});  // pinned meanwhile
  Apply(RoundOpened{{1}});
  ASSERT_TRUE(state_.masks().has_value());
  EXPECT_TRUE(state_.masks()->is_on);
  EXPECT_TRUE(state_.run()->plan.secure_aggregation.is_on);
  EXPECT_EQ(state_.secure().step(), SecureStep::kAdvertise);
  Apply(SiteJoined{{"d"}});
  Apply(RoundOpened{{1}});  // again, with the late joiner
  EXPECT_TRUE(state_.masks()->is_on);
}

TEST_F(RunMasksTest, ARunWithoutEnoughRostersAsksForUpdatesInTheClear) {
  Open();
  for (const char* site : {"a", "b", "c"}) Apply(SiteJoined{{site}});
  Apply(RoundOpened{{1}});
  EXPECT_FALSE(state_.masks()->is_on);
  EXPECT_FALSE(state_.secure().is_on());
}

// Three sites of a masked run, who have joined.
class SecureAttemptsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_THAT(world_.Open(), IsOk());
    spec_.masks = "on";
    spec_.quorum = spec_.expected = 3;
    world_.StartRun(spec_);
    world_.JoinAll({&a_, &b_, &c_});
  }
  PlanSpec spec_;
  RoundWorld world_;
  const TestSite a_{"a"}, b_{"b"}, c_{"c"};
};

// Sites that advertise keys and say nothing more, for ever.
TEST_F(SecureAttemptsTest, ASumThatIsNeverUnmaskedEndsTheRunAndSaysWhy) {
  EXPECT_THAT(world_.Snapshot().masks, HasSubstr("updates are masked"));
  uint32_t attempts = 0;
  while (world_.state() == "training" && attempts < 20) {
    for (const TestSite* site : {&a_, &b_, &c_}) {
      const Task task = world_.TaskOf(*site);
      ASSERT_EQ(task.secure.step, SecureStep::kAdvertise);
      attempts = task.secure.attempt;
      const SecureSession session{task.run,  task.plan_hash, task.round,
                                  task.kind, task.model,     attempts};
      AdvertisedKeys keys{Bytes(32, 9), Bytes(32, 8), Digest(), {}};
      keys.signature =
          site->key().Sign(AdvertiseStatement(session.Id(), site->id(), keys));
      ASSERT_THAT(world_.AnswerStep(*site, task, EncodeKeys(site->id(), keys)),
                  IsOk());
    }
    world_.Run(absl::Milliseconds(50));
    ASSERT_THAT(world_.Report(a_, {1}, {}, "I know no site b"), IsOk());
    world_.Run(spec_.round_deadline + absl::Seconds(1));
  }
  EXPECT_EQ(attempts, 10u);
  EXPECT_EQ(world_.state(), "stopped");
  EXPECT_THAT(world_.Snapshot().end_reason,
              HasSubstr("could be unmasked in 10 attempts"));
  EXPECT_THAT(world_.Snapshot().end_reason, HasSubstr("I know no site b"));
  // The reason is in the log.
  ASSERT_THAT(world_.Reopen(), IsOk());
  EXPECT_THAT(world_.Snapshot().end_reason, HasSubstr("10 attempts"));
}

TEST_F(SecureAttemptsTest, AnAnswerToAPastRoundIsNoFault) {
  Task task = world_.TaskOf(a_);
  const uint32_t round = task.round.value;
  task.secure.step = SecureStep::kUnmask;
  task.round = {round - 1};
  EXPECT_THAT(world_.AnswerStep(a_, task, Bytes(8)), IsOk());
  EXPECT_EQ(world_.Snapshot().sites.at(a_.id()).last_refusal, "");
  task.round = {round + 1};
  EXPECT_FALSE(world_.AnswerStep(a_, task, Bytes(8)).ok());
  EXPECT_THAT(world_.Snapshot().sites.at(a_.id()).last_refusal,
              HasSubstr("expected step advertise"));
}

}  // namespace
}  // namespace fedgraft
