// Looks at shift through the coordinator.
#include <string>
#include <vector>

#include "common/crypto/sha256.h"
#include "common/shift/look.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/round/round_world.h"
#include "tests/support/status_matchers.h"

namespace fedgraft::testing {
namespace {

using ::testing::HasSubstr;

class LookRoundsTest : public ::testing::Test {
 protected:
  std::vector<const TestSite*> All() const { return {&a_, &b_, &c_, &d_}; }
  void Start(int rounds) {
    PlanSpec spec;
    spec.rounds = rounds;
    spec.quorum = spec.expected = 4;
    spec.looks_every = 1;
    ASSERT_THAT(world_.Open(), IsOk());
    world_.StartRun(spec);
    world_.JoinAll(All());
  }
  // What the stages come to if all four sites answer.
  Look Expected(int stages) const {
    Look look = *Look::Create(world_.plan(), MakeLayout());
    for (int stage = 0; stage < stages; ++stage) {
      std::vector<uint64_t> words(static_cast<size_t>(look.words()));
      for (const TestSite* site : All()) {
        const auto one = *look.Pack(FakeLook(7, site->id(), world_.plan(),
                                             MakeLayout(), look.Encode()));
        for (size_t i = 0; i < words.size(); ++i) words[i] += one[i];
      }
      EXPECT_THAT(look.Add(std::move(words)), IsOk());
    }
    return look;
  }

  RoundWorld world_;
  const TestSite a_{"a"}, b_{"b"}, c_{"c"}, d_{"d"};
};

TEST_F(LookRoundsTest, StagesAddUpAndEndInVerdicts) {
  Start(/*rounds=*/1);
  ASSERT_EQ(world_.TaskOf(a_).kind, TaskKind::kTrain);
  const Digest trained_from = world_.TaskOf(a_).model;
  world_.Contribute(All());
  int stages = 0;
  for (; world_.state() != "finished"; ++stages) {
    ASSERT_LT(stages, kLookStagesMax);
    const Task task = world_.TaskOf(a_);
    ASSERT_EQ(task.kind, TaskKind::kSketch);
    EXPECT_EQ(task.training_round.value, 1u);
    EXPECT_NE(task.model, trained_from);
    const Look look = Expected(stages);
    if (stages == 0) {
      EXPECT_EQ(task.statistics_size_bytes, 0u);
    } else {
      EXPECT_EQ(task.statistics, Sha256(look.Encode()));
      EXPECT_EQ(*world_.Blob(a_, task.statistics), look.Encode());
    }
    world_.Contribute(All());
  }
  const Look look = Expected(stages);
  EXPECT_TRUE(look.done());
  const auto& history = world_.coordinator().History();
  ASSERT_EQ(history.size(), 1u);
  EXPECT_EQ(history[0].metrics.at("shift_sites"), 4);
  for (const auto& [name, value] : look.Verdicts()) {
    EXPECT_EQ(history[0].metrics.at(name), value) << name;
  }
}

TEST_F(LookRoundsTest, WithoutTheQuorumTheRunGoesOn) {
  Start(/*rounds=*/2);
  world_.Contribute(All());
  ASSERT_EQ(world_.TaskOf(a_).kind, TaskKind::kSketch);
  world_.Contribute({&a_, &b_, &c_});
  world_.Run(absl::Minutes(30));
  const Task task = world_.TaskOf(d_);
  EXPECT_EQ(task.kind, TaskKind::kTrain);
  EXPECT_EQ(task.training_round.value, 2u);
  EXPECT_FALSE(
      world_.coordinator().History()[0].metrics.contains("shift_sites"));
}

TEST_F(LookRoundsTest, SumsThatNoRecordsHaveAreRefused) {
  Start(/*rounds=*/1);
  world_.Contribute(All());
  const Task task = world_.TaskOf(a_);
  ASSERT_EQ(task.kind, TaskKind::kSketch);
  const Look look = Expected(0);
  std::vector<uint64_t> words =
      *look.Pack(FakeLook(7, a_.id(), world_.plan(), MakeLayout(), {}));
  words[0] = 2;  // this site would count as two
  const TestUpdate update =
      a_.Seal(world_.run(), TestSite::HeaderFor(task),
              TestSite::WordsPayload(std::move(words)), world_.random);
  const auto receipt = world_.Upload(a_, update);
  EXPECT_EQ(RefusalOf(receipt.status()), RefusalReason::kBadLayout);
  EXPECT_THAT(std::string(receipt.status().message()), HasSubstr("sites"));
}

}  // namespace
}  // namespace fedgraft::testing
