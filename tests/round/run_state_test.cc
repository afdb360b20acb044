#include "aggregator/round/run_state.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/round/round_world.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::HasCode;
using ::fedgraft::testing::IsError;
using ::fedgraft::testing::IsOk;
using ::fedgraft::testing::MakeLayout;
using ::fedgraft::testing::MakePlan;
using ::fedgraft::testing::PlanSpec;

const SiteId kA = {"a"}, kB = {"b"}, kC = {"c"};

// A state that is fed one record after another.
class RunStateTest : public ::testing::Test {
 protected:
  absl::Status Apply(Record record) {
    return state_.Apply({absl::UnixEpoch(), std::move(record)}, ++sequence_);
  }
  void Open(const PlanSpec& spec) {
    RunOpened record;
    record.run = {"run1"};
    record.plan = MakePlan(spec).bytes;
    record.initial_model.bytes.fill(1);
    record.layout = MakeLayout();
    ASSERT_THAT(Apply(record), IsOk());
    for (const SiteId& site : {kA, kB}) {
      ASSERT_THAT(Apply(SiteJoined{site}), IsOk());
    }
  }
  absl::Status Contribute(const SiteId& site, uint32_t round,
                          TaskKind kind = TaskKind::kTrain,
                          uint8_t digest = 7) {
    ContributionAccepted record;
    record.site = site;
    record.header.run = {"run1"};
    record.header.round = {round};
    record.header.kind = kind;
    record.header.size_bytes = 10;
    record.header.sealed_digest.bytes.fill(digest);
    record.sealed_inline = Bytes(10, 1);
    return Apply(record);
  }
  absl::Status Reduce(uint32_t round, std::vector<SiteId> sites,
                      bool opens_next = false) {
    RoundReduced record;
    record.round = {round};
    record.sites = std::move(sites);
    record.model.bytes.fill(static_cast<uint8_t>(round + 1));
    record.opens_next = opens_next;
    return Apply(record);
  }

  RunState state_;
  uint64_t sequence_ = 0;
};

TEST_F(RunStateTest, FollowsARunFromOpenToClosed) {
  PlanSpec spec;
  spec.evaluate_every = 0;  // after the last round only
  Open(spec);
  EXPECT_EQ(state_.phase(), Phase::kEnrolling);
  ASSERT_THAT(Apply(RoundOpened{{1}}), IsOk());
  EXPECT_EQ(state_.task_kind(), TaskKind::kTrain);
  ASSERT_THAT(Contribute(kB, 1), IsOk());
  ASSERT_THAT(Contribute(kA, 1), IsOk());
  ASSERT_THAT(Reduce(1, {kA, kB}, /*opens_next=*/true), IsOk());
  EXPECT_EQ(state_.phase(), Phase::kTraining);
  EXPECT_EQ(state_.round(), RoundId{2});
  EXPECT_TRUE(state_.contributions().empty());
  ASSERT_THAT(Contribute(kA, 2), IsOk());
  ASSERT_THAT(Contribute(kB, 2), IsOk());
  ASSERT_THAT(Reduce(2, {kA, kB}), IsOk());
  EXPECT_EQ(state_.phase(), Phase::kEvaluating);
  ASSERT_THAT(Contribute(kA, 2, TaskKind::kEvaluate), IsOk());
  ASSERT_THAT(Apply(EvaluationClosed{{2}, {kA}, {{"auc", 0.9}}}), IsOk());
  EXPECT_EQ(state_.phase(), Phase::kPublished);
  ASSERT_THAT(Apply(RunClosed{}), IsOk());
  EXPECT_FALSE(state_.open());
  ASSERT_EQ(state_.history().size(), 2u);
  EXPECT_EQ(state_.history()[0].bytes_up, 20u);
  EXPECT_EQ(state_.history()[1].bytes_up, 30u);
  EXPECT_EQ(state_.history()[1].metrics.at("auc"), 0.9);
  EXPECT_EQ(state_.model().digest.bytes[0], 3);
  EXPECT_EQ(state_.RoundsContributed(kA), 2u);
}

TEST_F(RunStateTest, AMaskedSumIsNotReducedBeforeItCanBeUnmasked) {
  constexpr auto kWrong = absl::StatusCode::kDataLoss;
  PlanSpec spec;
  spec.secure = true;
  Open(spec);
  ASSERT_THAT(Apply(RoundOpened{{1}}), IsOk());
  EXPECT_EQ(state_.secure().step(), SecureStep::kAdvertise);
  EXPECT_THAT(Contribute(kA, 1), HasCode(kWrong));
  EXPECT_THAT(Reduce(1, {}), HasCode(kWrong));
  // Nobody has advertised; this is not the step that answers say it is.
  EXPECT_THAT(Apply(SecureAdvanced{1, SecureStep::kShare}), HasCode(kWrong));
  EXPECT_THAT(Apply(SecureAnswered{kA, 1, SecureStep::kUnmask, Bytes()}),
              HasCode(kWrong));
  EXPECT_THAT(Apply(SecureAdvanced{3, SecureStep::kAdvertise}),
              HasCode(kWrong));
  EXPECT_THAT(Apply(SecureAdvanced{2, SecureStep::kAdvertise}), IsOk());
  EXPECT_EQ(state_.secure().attempt(), 2u);
}

TEST_F(RunStateTest, KeepsTheNewestReceiptOfEachKind) {
  Open({});
  ASSERT_THAT(Apply(RoundOpened{{1}}), IsOk());
  ASSERT_THAT(Contribute(kA, 1), IsOk());
  const uint64_t sequence = sequence_;
  ASSERT_THAT(Contribute(kB, 1), IsOk());
  ASSERT_THAT(Reduce(1, {kA, kB}), IsOk());
  UploadHeader header;
  header.run = {"run1"};
  header.round = {1};
  header.sealed_digest.bytes.fill(7);
  ASSERT_TRUE(state_.FindReceipt(kA, header).has_value());
  EXPECT_EQ(state_.FindReceipt(kA, header)->sequence, sequence);
  EXPECT_TRUE(state_.HasContributed(kA, header));
  UploadHeader evaluated = header;
  evaluated.kind = TaskKind::kEvaluate;
  EXPECT_FALSE(state_.HasContributed(kA, evaluated));
  header.sealed_digest.bytes.fill(8);
  EXPECT_FALSE(state_.FindReceipt(kA, header).has_value());
  header.sealed_digest.bytes.fill(7);
  header.run = {"run2"};
  EXPECT_FALSE(state_.FindReceipt(kA, header).has_value());
}

// By rounds of training: gathering is none, nor is an update that no round was
// reduced over.
TEST_F(RunStateTest, KnowsWhichRoundOfTrainingCountedASiteLast) {
  PlanSpec spec;
  spec.rounds = 3;
  spec.gathers = true;
  Open(spec);
  ASSERT_THAT(Apply(SiteJoined{kC}), IsOk());
  ASSERT_THAT(Apply(RoundOpened{{1}}), IsOk());
  RoundReduced gathered;
  gathered.round = {1};
  gathered.sites = {kA, kB, kC};
  gathered.model.bytes.fill(1);
  gathered.opens_next = true;
  gathered.statistics = {Digest(), 3, Bytes(3, 9)};
  for (const SiteId& site : gathered.sites) {
    ASSERT_THAT(Contribute(site, 1, TaskKind::kGather), IsOk());
  }
  ASSERT_THAT(Apply(gathered), IsOk());
  EXPECT_EQ(state_.CountedSites(false), 0);
  const std::vector<std::vector<SiteId>> rounds = {{kA, kB}, {kB, kC}};
  for (uint32_t round = 2; round <= 3; ++round) {
    for (const SiteId& site : rounds[round - 2]) {
      ASSERT_THAT(Contribute(site, round), IsOk());
    }
    EXPECT_EQ(state_.CountedSites(false), round == 2 ? 0 : 2);
    EXPECT_EQ(state_.CountedSites(true), static_cast<int>(round));
    ASSERT_THAT(Reduce(round, rounds[round - 2], /*opens_next=*/true), IsOk());
    EXPECT_EQ(state_.CountedSites(false), static_cast<int>(round));
  }
  ASSERT_THAT(Contribute(kA, 4), IsOk());
  EXPECT_EQ(state_.CountedRound(kA), RoundId{1});
  EXPECT_EQ(state_.CountedRound(kB), RoundId{2});
  EXPECT_EQ(state_.CountedRound(kC), RoundId{2});
  EXPECT_EQ(state_.CountedRound(SiteId{"d"}), RoundId{0});
}

TEST_F(RunStateTest, ARuleWithMemoryLeavesItsStateInEveryRound) {
  PlanSpec spec;
  spec.rule = "kind: fed_avgm";
  Open(spec);
  ASSERT_THAT(Apply(RoundOpened{{1}}), IsOk());
  ASSERT_THAT(Contribute(kA, 1), IsOk());
  ASSERT_THAT(Contribute(kB, 1), IsOk());
  EXPECT_THAT(Reduce(1, {kA, kB}),
              IsError(absl::StatusCode::kDataLoss, "rule's state"));
  RoundReduced record;
  record.round = {1};
  record.sites = {kA, kB};
  record.rule = RuleAdvanced{Digest(), 3, {1, 2, 3}};
  EXPECT_EQ(state_.rule_state().size_bytes, 0u);
  ASSERT_THAT(Apply(record), IsOk());
  EXPECT_EQ(state_.rule_state().size_bytes, 3u);
}

TEST_F(RunStateTest, ARuleWithoutMemoryLeavesNone) {
  Open({});
  ASSERT_THAT(Apply(RoundOpened{{1}}), IsOk());
  ASSERT_THAT(Contribute(kA, 1), IsOk());
  ASSERT_THAT(Contribute(kB, 1), IsOk());
  RoundReduced record;
  record.round = {1};
  record.sites = {kA, kB};
  record.rule = RuleAdvanced{Digest(), 3, {1, 2, 3}};
  EXPECT_THAT(Apply(record),
              IsError(absl::StatusCode::kDataLoss, "rule that has none"));
}

TEST_F(RunStateTest, LateJoinersTakePartFromTheNextRound) {
  Open({});
  ASSERT_THAT(Apply(RoundOpened{{1}}), IsOk());
  ASSERT_THAT(Apply(SiteJoined{kC}), IsOk());
  EXPECT_FALSE(state_.participants().contains(kC));
  EXPECT_THAT(Contribute(kC, 1), HasCode(absl::StatusCode::kDataLoss));
  ASSERT_THAT(Contribute(kA, 1), IsOk());
  ASSERT_THAT(Contribute(kB, 1), IsOk());
  ASSERT_THAT(Reduce(1, {kA, kB}, /*opens_next=*/true), IsOk());
  EXPECT_TRUE(state_.participants().contains(kC));
}

TEST_F(RunStateTest, RefusesRecordsThatCannotFollowAndStaysAsItWas) {
  PlanSpec spec;
  spec.rounds = 1;
  EXPECT_THAT(Apply(SiteJoined{kA}), HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Apply(RunClosed{}), HasCode(absl::StatusCode::kDataLoss));
  Open(spec);
  EXPECT_THAT(Apply(RoundOpened{{2}}),
              IsError(absl::StatusCode::kDataLoss, "not the next"));
  ASSERT_THAT(Apply(RoundOpened{{1}}), IsOk());
  EXPECT_THAT(Contribute(kA, 2), HasCode(absl::StatusCode::kDataLoss));
  ASSERT_THAT(Contribute(kA, 1), IsOk());
  EXPECT_THAT(Contribute(kA, 1),
              IsError(absl::StatusCode::kDataLoss, "contributed already"));
  EXPECT_THAT(Reduce(1, {kA}),
              IsError(absl::StatusCode::kDataLoss, "below the quorum"));
  EXPECT_THAT(Reduce(1, {kA, kB}),
              IsError(absl::StatusCode::kDataLoss, "not the ones"));
  ASSERT_THAT(Contribute(kB, 1), IsOk());
  EXPECT_THAT(Reduce(1, {kB, kA}), HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Reduce(1, {kA, kB}, /*opens_next=*/true),
              IsError(absl::StatusCode::kDataLoss, "no round can be opened"));
  EXPECT_THAT(Apply(EvaluationClosed{{1}, {kA, kB}, {}}),
              HasCode(absl::StatusCode::kDataLoss));
  EXPECT_EQ(state_.phase(), Phase::kTraining);
  EXPECT_EQ(state_.contributions().size(), 2u);
  EXPECT_THAT(Reduce(1, {kA, kB}), IsOk());
}

TEST_F(RunStateTest, LooksAtShiftBetweenRoundsAndAfterTheLast) {
  PlanSpec spec;
  spec.rounds = 2;
  spec.quorum = spec.expected = 4;
  spec.evaluate_every = 0;
  spec.looks_every = 1;
  Open(spec);
  const std::vector<SiteId> all = {kA, kB, kC, {"d"}};
  ASSERT_THAT(Apply(SiteJoined{kC}), IsOk());
  ASSERT_THAT(Apply(SiteJoined{{"d"}}), IsOk());
  const auto contribute = [&](uint32_t round, TaskKind kind) {
    for (const SiteId& site : all) {
      ASSERT_THAT(Contribute(site, round, kind), IsOk());
    }
  };
  ASSERT_THAT(Apply(RoundOpened{{1}}), IsOk());
  contribute(1, TaskKind::kTrain);
  ASSERT_THAT(Reduce(1, all, /*opens_next=*/true), IsOk());
  // Two stages, then training goes on.
  EXPECT_EQ(state_.phase(), Phase::kSketching);
  EXPECT_EQ(state_.task_kind(), TaskKind::kSketch);
  EXPECT_EQ(state_.training_round(), RoundId{1});
  EXPECT_EQ(state_.model_round(), RoundId{1});
  EXPECT_THAT(Contribute(kA, 2), HasCode(absl::StatusCode::kDataLoss));
  contribute(2, TaskKind::kSketch);
  EXPECT_THAT(Reduce(2, all), HasCode(absl::StatusCode::kDataLoss));
  SketchClosed stage{{2}, all, {}, 3, Bytes(3, 9), true, true, {}};
  ASSERT_THAT(Apply(stage), IsOk());
  EXPECT_EQ(*state_.look().pooled.inline_bytes, Bytes(3, 9));
  EXPECT_EQ(state_.task_kind(), TaskKind::kSketch);
  ASSERT_THAT(Apply(SiteReported{kA, {3}, {{"shift.mmd.p", 0.25}, {"n", 9}}}),
              IsOk());
  contribute(3, TaskKind::kSketch);
  stage = {{3}, all, {}, 4, Bytes(4, 8), false, true, {{"shift_sites", 4}}};
  ASSERT_THAT(Apply(stage), IsOk());
  EXPECT_EQ(state_.task_kind(), TaskKind::kTrain);
  EXPECT_EQ(state_.round(), RoundId{4});
  EXPECT_EQ(state_.training_round(), RoundId{2});
  EXPECT_TRUE(state_.IsFinalEvaluation());
  EXPECT_FALSE(state_.IsLastRound());
  // A round of training is what a site's rounds count, and what history shows.
  EXPECT_EQ(state_.RoundsContributed(kA), 1u);
  ASSERT_EQ(state_.history().size(), 1u);
  EXPECT_EQ(state_.history()[0].metrics.at("shift_sites"), 4);
  EXPECT_EQ(state_.history()[0].bytes_up, 3 * 40u);
  // Findings belong to the model that was looked at; the rest are scalars.
  EXPECT_EQ(state_.findings().at({1}).at(kA).at("shift.mmd.p"), 0.25);
  EXPECT_EQ(state_.Scalars(kA), (std::map<std::string, double>{{"n", 9}}));
  contribute(4, TaskKind::kTrain);
  ASSERT_THAT(Reduce(4, all), IsOk());
  EXPECT_EQ(state_.phase(), Phase::kEvaluating);
  ASSERT_THAT(Apply(EvaluationClosed{{4}, {}, {}, true}), IsOk());
  // The last look is given up: the run can end.
  EXPECT_EQ(state_.task_kind(), TaskKind::kSketch);
  EXPECT_EQ(state_.training_round(), RoundId{2});
  EXPECT_THAT(Apply(SketchClosed{{5}, {}, {}, 0, {}, true, false, {}}),
              HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Apply(SketchClosed{{5}, {}, {}, 0, {}, false, true, {}}),
              HasCode(absl::StatusCode::kDataLoss));
  ASSERT_THAT(Apply(SketchClosed{{5}, {}, {}, 0, {}, false, false, {}}),
              IsOk());
  EXPECT_EQ(state_.phase(), Phase::kPublished);
  EXPECT_TRUE(state_.IsLastRound());
}

TEST_F(RunStateTest, GathersOnceBeforeItTrainsAndKeepsTheModel) {
  PlanSpec spec;
  spec.gathers = true;
  spec.evaluate_every = 1;
  Open(spec);
  ASSERT_THAT(Apply(RoundOpened{{1}}), IsOk());
  EXPECT_EQ(state_.phase(), Phase::kGathering);
  EXPECT_EQ(state_.task_kind(), TaskKind::kGather);
  EXPECT_EQ(state_.training_round(), RoundId{0});
  ASSERT_THAT(Apply(RoundOpened{{1}}), IsOk());  // taking in late joiners
  EXPECT_THAT(Contribute(kA, 1), HasCode(absl::StatusCode::kDataLoss));
  ASSERT_THAT(Contribute(kA, 1, TaskKind::kGather), IsOk());
  ASSERT_THAT(Contribute(kB, 1, TaskKind::kGather), IsOk());
  RoundReduced record;
  record.round = {1};
  record.sites = {kA, kB};
  record.model.bytes.fill(1);
  record.opens_next = true;
  EXPECT_THAT(Apply(record),
              IsError(absl::StatusCode::kDataLoss, "without its statistics"));
  record.statistics = {Digest(), 3, Bytes(3, 9)};
  record.model.bytes.fill(2);
  EXPECT_THAT(Apply(record),
              IsError(absl::StatusCode::kDataLoss, "another model"));
  record.model.bytes.fill(1);
  ASSERT_THAT(Apply(record), IsOk());
  // No evaluation of a model that has not changed.
  EXPECT_EQ(state_.phase(), Phase::kTraining);
  EXPECT_EQ(state_.training_round(), RoundId{1});
  EXPECT_EQ(*state_.statistics().gathered.inline_bytes, Bytes(3, 9));
  // The plan's two rounds of training follow.
  for (uint32_t round = 2; round <= 3; ++round) {
    EXPECT_EQ(state_.training_round(), RoundId{round - 1});
    ASSERT_THAT(Contribute(kA, round), IsOk());
    ASSERT_THAT(Contribute(kB, round), IsOk());
    ASSERT_THAT(Reduce(round, {kA, kB}), IsOk());
    EXPECT_EQ(state_.IsLastRound(), round == 3);
    ASSERT_THAT(Apply(EvaluationClosed{{round}, {}, {}}), IsOk());
    if (round == 2) {
      ASSERT_THAT(Apply(RoundOpened{{3}}), IsOk());
    }
  }
}

TEST_F(RunStateTest, ANewRunForgetsTheLastOne) {
  Open({});
  ASSERT_THAT(Apply(SiteReported{kA, {1}, {{"auc", 0.5}}}), IsOk());
  EXPECT_EQ(state_.Scalars(kA).at("auc"), 0.5);
  ASSERT_THAT(Apply(RunClosed{true, "x"}), IsOk());
  EXPECT_TRUE(state_.stopped());
  EXPECT_NE(state_.run(), nullptr);
  RunOpened record;
  record.run = {"run2"};
  record.plan = MakePlan({}).bytes;
  record.layout = MakeLayout();
  ASSERT_THAT(Apply(record), IsOk());
  EXPECT_FALSE(state_.stopped());
  EXPECT_TRUE(state_.joined().empty());
  EXPECT_TRUE(state_.Scalars(kA).empty());
}

TEST_F(RunStateTest, RefusesAPlanThatThisBuildCannotRead) {
  RunOpened record;
  record.run = {"run1"};
  record.plan = {0xff, 0xff};
  EXPECT_THAT(Apply(record), HasCode(absl::StatusCode::kDataLoss));
  EXPECT_EQ(state_.phase(), Phase::kIdle);
}

TEST_F(RunStateTest, AModelIsEvaluatedWhenThePlanSaysSo) {
  struct Case {
    int every;
    uint32_t round;
    bool due;
  };
  PlanSpec spec;
  spec.rounds = 5;
  for (const Case& c : std::vector<Case>{{-1, 5, false},
                                         {0, 1, false},
                                         {0, 5, true},
                                         {1, 3, true},
                                         {2, 3, false},
                                         {2, 4, true},
                                         {2, 5, true}}) {
    spec.evaluate_every = c.every;
    state_ = RunState();
    Open(spec);
    for (uint32_t round = 1; round <= c.round; ++round) {
      if (state_.phase() == Phase::kEvaluating) {
        EvaluationClosed closed;
        closed.round = {round - 1};
        ASSERT_THAT(Apply(closed), IsOk());
      }
      ASSERT_THAT(Apply(RoundOpened{{round}}), IsOk());
      ASSERT_THAT(Contribute(kA, round), IsOk());
      ASSERT_THAT(Contribute(kB, round), IsOk());
      ASSERT_THAT(Reduce(round, {kA, kB}), IsOk());
    }
    EXPECT_EQ(state_.phase() == Phase::kEvaluating, c.due)
        << "every " << c.every << ", round " << c.round;
  }
}

}  // namespace
}  // namespace fedgraft
