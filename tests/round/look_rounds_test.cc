// Looks at shift through the coordinator.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/crypto/sha256.h"
#include "common/numeric/update_payload.h"
#include "common/shift/look.h"
#include "common/shift/remedies.h"
#include "common/shift/shift_tests.h"
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
  void Start(int rounds, const std::string& on_shift = "recommend") {
    PlanSpec spec;
    spec.on_shift = on_shift;
    spec.rounds = rounds;
    spec.quorum = spec.expected = 4;
    spec.looks_every = every_;
    ASSERT_THAT(world_.Open(), IsOk());
    world_.StartRun(spec);
    world_.JoinAll(All());
  }
  // Whatever is left of a look; returns the number of stages.
  int FinishLook() {
    int stages = 0;
    for (; world_.TaskOf(a_).kind == TaskKind::kSketch; ++stages) {
      world_.Contribute(All());
      if (world_.state() == "finished") return stages + 1;
    }
    return stages;
  }
  // Scalars of a site that differs in these tests.
  static std::map<std::string, double> Found(
      const std::set<std::string>& differs) {
    std::map<std::string, double> scalars = {{"shift.new_records", 40}};
    for (const ShiftTestSpec& test : ShiftTests()) {
      const std::string name(test.name);
      scalars[ShiftScalar(name, "p")] = differs.contains(name) ? 1e-9 : 0.6;
    }
    return scalars;
  }
  double Finding(uint32_t round, const TestSite& site,
                 const std::string& name) {
    return world_.coordinator()
        .Findings()
        .values.at(round)
        .at(site.id().value)
        .at(name);
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

  int every_ = 1;
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

// The features of a linear probe stay the same, so a second look would have
// nothing to add until some site's records change.
TEST_F(LookRoundsTest, ALookWithoutNewsIsLeftOutAndTheLastOneStands) {
  Start(/*rounds=*/3);
  EXPECT_EQ(world_.TaskOf(a_).compared_look, Digest());
  world_.Contribute(All());
  const int stages = FinishLook();
  EXPECT_GT(stages, 3);
  const Task task = world_.TaskOf(a_);
  ASSERT_EQ(task.kind, TaskKind::kTrain);
  EXPECT_EQ(task.compared_look, Sha256(Expected(stages - 1).Encode()));
  ASSERT_THAT(world_.Report(a_, task.round, Found({"covariate_mmd"})), IsOk());
  world_.Contribute(All());
  ASSERT_EQ(world_.TaskOf(a_).kind, TaskKind::kTrain);
  EXPECT_EQ(world_.TaskOf(a_).training_round.value, 3u);
  ASSERT_THAT(world_.Reopen(), IsOk());
  world_.Run();
  world_.Contribute(All());
  EXPECT_EQ(world_.state(), "finished");
  const auto& history = world_.coordinator().History();
  ASSERT_EQ(history.size(), 3u);
  for (const size_t round : {1u, 2u}) {
    EXPECT_EQ(history[round].metrics.at(kLookUnchanged), 1);
    EXPECT_FALSE(history[round].metrics.contains("shift_sites"));
  }
  EXPECT_EQ(Finding(3, a_, "shift.covariate_mmd.p"), 1e-9);
  EXPECT_EQ(Finding(1, a_, "shift.new_records"), 40);
  EXPECT_EQ(Finding(3, a_, "shift.new_records"), 0);
}

TEST_F(LookRoundsTest, OneSitesNewsMakeALook) {
  Start(/*rounds=*/2);
  world_.Contribute(All());
  FinishLook();
  world_.changed = {c_.id()};
  world_.Contribute(All());
  ASSERT_EQ(world_.TaskOf(a_).kind, TaskKind::kSketch);
  world_.changed.clear();
  EXPECT_GT(FinishLook(), 3);
  EXPECT_EQ(world_.state(), "finished");
  EXPECT_EQ(world_.coordinator().History().back().metrics.at("shift_sites"), 4);
}

// Looks every third round: the second has news, the third none.
TEST_F(LookRoundsTest, NewsOfRoundsWithoutALookAreKeptForTheNext) {
  every_ = 3;
  Start(/*rounds=*/6);
  for (int round = 1; round <= 3; ++round) world_.Contribute(All());
  FinishLook();
  world_.Contribute(All());
  world_.changed = {b_.id(), d_.id()};
  world_.Contribute(All());
  world_.changed.clear();
  ASSERT_EQ(world_.TaskOf(a_).kind, TaskKind::kTrain);
  ASSERT_THAT(world_.Reopen(), IsOk());
  world_.Run();
  world_.Contribute(All());
  ASSERT_EQ(world_.TaskOf(a_).kind, TaskKind::kSketch);
  EXPECT_GT(FinishLook(), 3);
}

TEST_F(LookRoundsTest, NewsOfMoreThanOneSiteInAnUpdateAreRefused) {
  Start(/*rounds=*/1);
  const Task task = world_.TaskOf(a_);
  const auto upload = [&](uint64_t news) {
    UpdatePayloadHead head;
    Bytes payload = TestSite::TrainPayload(
        world_.plan(), MakeLayout(),
        FakeDelta(7, a_.id(), task.round, task.model, MakeLayout()), 10);
    head =
        *DecodeUpdateHead(ByteSpan(payload).first(UpdatePayloadHead::kBytes));
    for (uint64_t i = 0; i < news; ++i) {
      head.weight_word = WithNews(head.weight_word);
    }
    const Bytes bytes = EncodeUpdateHead(head);
    std::copy(bytes.begin(), bytes.end(), payload.begin());
    return world_.Upload(a_, a_.Seal(world_.run(), TestSite::HeaderFor(task),
                                     payload, world_.random));
  };
  EXPECT_EQ(RefusalOf(upload(2).status()), RefusalReason::kBadWeight);
  EXPECT_THAT(upload(1), IsOk());
}

// What is chosen by a look's findings is journalled, and asked of the site that
// differs, and of no other, from the next round of training on.
TEST_F(LookRoundsTest, ASiteThatDiffersIsAskedForItsRemedy) {
  Start(/*rounds=*/4, "apply");
  world_.Contribute(All());
  FinishLook();
  const Task during = world_.TaskOf(a_);
  ASSERT_EQ(during.kind, TaskKind::kTrain);
  const std::set<std::string> covariate = {"covariate_mmd",
                                           "covariate_adjusted"};
  for (const TestSite* site : All()) {
    ASSERT_THAT(
        world_.Report(*site, during.round,
                      Found(site == &b_ ? covariate : std::set<std::string>())),
        IsOk());
  }
  EXPECT_EQ(world_.TaskOf(b_).remedy, SiteRemedy::kNone);  // of this round
  world_.Contribute(All());
  FinishLook();
  ASSERT_EQ(world_.TaskOf(b_).kind, TaskKind::kTrain);
  EXPECT_EQ(world_.TaskOf(b_).remedy, SiteRemedy::kImportanceWeights);
  EXPECT_EQ(world_.TaskOf(a_).remedy, SiteRemedy::kNone);
  ASSERT_THAT(world_.Reopen(), IsOk());
  world_.Run();
  EXPECT_EQ(world_.TaskOf(b_).remedy, SiteRemedy::kImportanceWeights);
  EXPECT_EQ(Finding(1, b_, "remedy.chosen"),
            static_cast<double>(SiteRemedy::kImportanceWeights));
  EXPECT_EQ(Finding(1, b_, "remedy.obstacle"), 0);
  EXPECT_FALSE(world_.coordinator().Findings().values.at(1).at("a").contains(
      "remedy.chosen"));
}

TEST_F(LookRoundsTest, APlanThatRecommendsAsksForNothing) {
  Start(/*rounds=*/2);
  world_.Contribute(All());
  FinishLook();
  const RoundId round = world_.TaskOf(a_).round;
  for (const TestSite* site : All()) {
    ASSERT_THAT(world_.Report(*site, round, Found({"covariate_mmd"})), IsOk());
  }
  world_.Contribute({&a_, &b_, &c_, &d_});
  EXPECT_FALSE(world_.coordinator().Findings().values.at(1).at("a").contains(
      "remedy.chosen"));
}

TEST_F(LookRoundsTest, WithoutTheQuorumTheRunGoesOn) {
  Start(/*rounds=*/2);
  world_.Contribute(All());
  ASSERT_EQ(world_.TaskOf(a_).kind, TaskKind::kSketch);
  world_.Contribute({&a_, &b_, &c_});
  // No longer than it takes to find that the fourth is gone.
  world_.Run(absl::Minutes(2));
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
