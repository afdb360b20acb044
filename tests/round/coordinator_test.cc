#include "aggregator/round/coordinator.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/crypto/sha256.h"
#include "common/model/evaluation_layout.h"
#include "common/model/safetensors.h"
#include "common/numeric/update_payload.h"
#include "common/protocol/statements.h"
#include "common/solve/head_solver.h"
#include "common/solve/head_values.h"
#include "common/solve/solve_statistics.h"
#include "common/statistics/gathered_statistics.h"
#include "gtest/gtest.h"
#include "tests/round/round_world.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::FakeDelta;
using ::fedgraft::testing::FakeSamples;
using ::fedgraft::testing::FakeSolveSums;
using ::fedgraft::testing::FakeStatistics;
using ::fedgraft::testing::FakeSums;
using ::fedgraft::testing::HasCode;
using ::fedgraft::testing::IsError;
using ::fedgraft::testing::IsOk;
using ::fedgraft::testing::MakeLayout;
using ::fedgraft::testing::MakeModel;
using ::fedgraft::testing::MakePlan;
using ::fedgraft::testing::PlanSpec;
using ::fedgraft::testing::RoundWorld;
using ::fedgraft::testing::TestSite;
using ::fedgraft::testing::TestUpdate;

class CoordinatorTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_THAT(world_.Open(), IsOk()); }

  // Starts a run and lets all three sites join: round 1 is open then.
  void OpenRound(const PlanSpec& spec = {}, int64_t extra = 0) {
    world_.StartRun(spec, extra);
    world_.JoinAll(All());
    ASSERT_EQ(world_.state(), spec.solver    ? "solving"
                              : spec.gathers ? "gathering"
                                             : "training");
  }
  std::vector<const TestSite*> All() const { return {&a_, &b_, &c_}; }
  // The honest update of a site to its current task.
  TestUpdate UpdateOf(const TestSite& site) {
    return world_.Answer(site, world_.TaskOf(site));
  }
  static std::optional<RefusalReason> ReasonOf(const absl::Status& status) {
    return RefusalOf(status);
  }
  bool IsWaiting(const TestSite& site) {
    const auto next = world_.NextTask(site);
    return next.ok() && std::holds_alternative<WaitMore>(*next);
  }
  RoundId round() const { return world_.Snapshot().round; }

  RoundWorld world_;
  const TestSite a_{"hospital-a"}, b_{"hospital-b"}, c_{"hospital-c"};
};

TEST_F(CoordinatorTest, RunsFromEnrolmentToTheEnd) {
  EXPECT_EQ(world_.state(), "idle");
  PlanSpec spec;
  spec.rounds = 3;
  OpenRound(spec);
  for (uint32_t round = 1; round <= 3; ++round) {
    ASSERT_EQ(world_.Snapshot().round.value, round);
    world_.Contribute(All());
  }
  EXPECT_EQ(world_.state(), "finished");
  const auto next = world_.NextTask(a_);
  ASSERT_THAT(next, IsOk());
  const auto& finished = std::get<RunFinished>(*next);
  EXPECT_EQ(finished.rounds, 3u);
  EXPECT_FALSE(finished.stopped);
  EXPECT_EQ(finished.model, world_.Snapshot().model);
  // The final model can be fetched, and lies in the blob store for export.
  const auto model = world_.Blob(a_, finished.model);
  ASSERT_THAT(model, IsOk());
  EXPECT_EQ(Sha256(*model), finished.model);
  EXPECT_TRUE(world_.files.Exists("blobs/" + finished.model.Hex()));
  EXPECT_EQ(world_.coordinator().History().size(), 3u);
  EXPECT_EQ(world_.Snapshot().sites.at(a_.id()).rounds_contributed, 3u);
}

TEST_F(CoordinatorTest, PublishesTheWeightedMeanOfTheUpdates) {
  PlanSpec spec;
  spec.rounds = 1;
  OpenRound(spec);
  const Digest base = world_.TaskOf(a_).model;
  world_.Contribute(All());
  const ParameterLayout layout = MakeLayout();
  const auto model =
      DecodeTrainableSet(layout, *world_.Blob(a_, world_.Snapshot().model));
  ASSERT_THAT(model, IsOk());
  // Independently: doubles instead of ring words.
  std::vector<double> sum(static_cast<size_t>(layout.Count()));
  double weights = 0;
  for (const TestSite* site : All()) {
    const double weight =
        static_cast<double>(FakeSamples(7, site->id())) / 1000;
    const auto delta = FakeDelta(7, site->id(), {1}, base, layout);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += weight * delta[i];
    weights += weight;
  }
  ParameterVector expected = MakeModel().initial;
  ToMoments(layout, expected);
  for (size_t i = 0; i < sum.size(); ++i) {
    expected[i] += static_cast<float>(sum[i] / weights);
  }
  FromMoments(layout, expected);
  for (size_t i = 0; i < sum.size(); ++i) {
    EXPECT_NEAR((*model)[i], expected[i], 2e-6) << i;
  }
}

TEST_F(CoordinatorTest, DescribesTheRunWithASignedKey) {
  world_.StartRun({});
  const auto joined = world_.Join(a_);
  ASSERT_THAT(joined, IsOk());
  EXPECT_EQ(joined->federation, "test-federation");
  const RunDescriptor& run = *joined->run;
  const Digest seed = Sha256(AsBytes("aggregator"));
  const Bytes key = SigningKey::FromSeed(seed.bytes)->PublicKey();
  EXPECT_THAT(
      VerifySignature(
          key, RunKeyStatement(run.run, run.plan_hash, run.hpke_public_key),
          run.hpke_key_signature),
      IsOk());
  const auto initial = world_.Blob(a_, run.initial_model);
  ASSERT_THAT(initial, IsOk());
  EXPECT_EQ(Sha256(*initial), run.initial_model);
}

TEST_F(CoordinatorTest, JoinRefusesAnotherProtocolVersion) {
  std::optional<absl::StatusOr<JoinReply>> answer;
  JoinRequest request;
  request.protocol_version = 99;
  world_.coordinator().Join(a_.peer(), request,
                            [&](auto reply) { answer = std::move(reply); });
  world_.Run();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(ReasonOf(answer->status()), RefusalReason::kProtocolVersion);
}

TEST_F(CoordinatorTest, ASiteThatKnowsNoRunIsToldWhenOneOpens) {
  EXPECT_THAT(world_.Join(a_), IsOk());
  EXPECT_FALSE(world_.Join(a_)->run.has_value());
  std::optional<absl::StatusOr<NextTaskReply>> answer;
  world_.coordinator().NextTask(a_.peer(), {RunId{}, absl::Minutes(1)},
                                [&](auto reply) { answer = std::move(reply); });
  world_.Run();
  EXPECT_FALSE(answer.has_value());
  world_.StartRun({});
  world_.Run();
  ASSERT_TRUE(answer.has_value());
  EXPECT_TRUE(std::holds_alternative<Rejoin>(**answer));
}

TEST_F(CoordinatorTest, ASiteThatKnowsAnotherRunIsToldToJoinAgain) {
  std::optional<absl::StatusOr<NextTaskReply>> answer;
  world_.StartRun({});
  world_.coordinator().NextTask(a_.peer(), {RunId{"old"}, absl::Minutes(1)},
                                [&](auto reply) { answer = std::move(reply); });
  ASSERT_TRUE(answer.has_value());
  EXPECT_TRUE(std::holds_alternative<Rejoin>(**answer));
}

TEST_F(CoordinatorTest, ANewerPollAnswersTheOlderOne) {
  world_.StartRun({});
  world_.JoinAll({&a_});
  std::optional<absl::StatusOr<NextTaskReply>> first, second;
  const NextTaskRequest request = {world_.run().run, absl::Minutes(5)};
  world_.coordinator().NextTask(a_.peer(), request,
                                [&](auto reply) { first = std::move(reply); });
  world_.coordinator().NextTask(a_.peer(), request,
                                [&](auto reply) { second = std::move(reply); });
  ASSERT_TRUE(first.has_value());
  EXPECT_TRUE(std::holds_alternative<WaitMore>(**first));
  EXPECT_FALSE(second.has_value());
  world_.JoinAll({&b_, &c_});
  ASSERT_TRUE(second.has_value());
  EXPECT_TRUE(std::holds_alternative<Task>(**second));
}

TEST_F(CoordinatorTest, TheRoundOpensOnceTheExpectedSitesHaveJoined) {
  world_.StartRun({});
  world_.JoinAll({&a_, &b_});
  EXPECT_EQ(world_.state(), "enrolling");
  world_.JoinAll({&c_});
  EXPECT_EQ(world_.state(), "training");
}

TEST_F(CoordinatorTest, TheEnrolDeadlineStartsWithTheQuorumButNotBelow) {
  world_.StartRun({});
  world_.JoinAll({&a_});
  world_.Run(absl::Minutes(6));
  EXPECT_EQ(world_.state(), "enrolling");  // extended
  world_.JoinAll({&b_});
  EXPECT_EQ(world_.state(), "enrolling");
  world_.Run(absl::Minutes(6));
  EXPECT_EQ(world_.state(), "training");
}

TEST_F(CoordinatorTest, ALateJoinerTakesPartFromTheNextRound) {
  PlanSpec spec;
  spec.expected = 2;
  world_.StartRun(spec);
  world_.JoinAll({&a_, &b_});
  ASSERT_EQ(world_.state(), "training");
  world_.JoinAll({&c_});
  EXPECT_TRUE(IsWaiting(c_));
  world_.Contribute({&a_, &b_});
  ASSERT_EQ(round().value, 2u);
  EXPECT_EQ(world_.TaskOf(c_).round.value, 2u);
}

TEST_F(CoordinatorTest, ARoundBelowTheQuorumTakesInLateJoinersAtItsDeadline) {
  PlanSpec spec;
  spec.expected = 2;
  world_.StartRun(spec);
  world_.JoinAll({&a_, &b_});
  world_.JoinAll({&c_});
  world_.Contribute({&a_});  // b has gone for good
  EXPECT_TRUE(IsWaiting(c_));
  world_.Run(absl::Minutes(11));
  ASSERT_EQ(round().value, 1u);
  EXPECT_TRUE(IsWaiting(a_));
  // As the log has it: a restart changes nothing.
  ASSERT_THAT(world_.Reopen(), IsOk());
  world_.Contribute({&c_});
  world_.Run(absl::Minutes(1));
  EXPECT_EQ(round().value, 2u);
  EXPECT_EQ(world_.coordinator().History()[0].sites,
            (std::vector<SiteId>{a_.id(), c_.id()}));
}

TEST_F(CoordinatorTest, TheRoundClosesAtItsDeadlineWithTheQuorum) {
  OpenRound();
  world_.Contribute({&a_, &b_});
  const Task task = world_.TaskOf(c_);
  EXPECT_EQ(round().value, 1u);
  // The third site is alive, so it is waited for until the deadline.
  for (int i = 0; i < 59; ++i) {
    world_.Run(absl::Seconds(10));
    ASSERT_THAT(world_.Heartbeat(c_, task), IsOk());
    ASSERT_EQ(round().value, 1u) << i;
  }
  world_.Run(absl::Seconds(11));
  EXPECT_EQ(round().value, 2u);
  EXPECT_EQ(world_.coordinator().History()[0].sites,
            (std::vector<SiteId>{a_.id(), b_.id()}));
  EXPECT_TRUE(*world_.Heartbeat(c_, task));  // cancelled
  const absl::Status late = world_.Upload(c_, world_.Answer(c_, task)).status();
  EXPECT_EQ(ReasonOf(late), RefusalReason::kWrongRound);
}

TEST_F(CoordinatorTest, NothingIsPublishedBelowTheQuorum) {
  OpenRound();
  world_.Contribute({&a_});
  world_.Run(absl::Hours(5));
  EXPECT_EQ(world_.state(), "training");
  EXPECT_EQ(round().value, 1u);
  EXPECT_TRUE(world_.coordinator().History().empty());
  // Whoever comes back is still welcome.
  world_.Contribute({&b_});
  world_.Run(absl::Minutes(1));
  EXPECT_EQ(round().value, 2u);
}

TEST_F(CoordinatorTest, ASiteWithoutProgressLeavesTheRound) {
  OpenRound();
  world_.TaskOf(c_);
  world_.Contribute({&a_, &b_});
  EXPECT_EQ(round().value, 1u);
  world_.Run(absl::Seconds(31));  // progress time-out, not the deadline
  EXPECT_EQ(round().value, 2u);
  EXPECT_EQ(world_.Snapshot().sites.at(c_.id()).state, "silent");
}

TEST_F(CoordinatorTest, ASilentSiteIsWelcomeWhileTheRoundIsOpen) {
  PlanSpec spec;
  spec.quorum = 3;
  OpenRound(spec);
  const Task task = world_.TaskOf(c_);
  world_.Contribute({&a_, &b_});
  world_.Run(absl::Minutes(2));
  ASSERT_EQ(world_.Snapshot().sites.at(c_.id()).state, "silent");
  EXPECT_FALSE(*world_.Heartbeat(c_, task));  // still wanted
  ASSERT_THAT(world_.Upload(c_, world_.Answer(c_, task)), IsOk());
  world_.Run();
  EXPECT_EQ(round().value, 2u);
}

TEST_F(CoordinatorTest, MovingBytesAreProgress) {
  PlanSpec spec;
  spec.quorum = 2;
  OpenRound(spec);
  world_.TaskOf(c_);
  world_.Contribute({&a_, &b_});
  for (int i = 0; i < 6; ++i) {
    world_.Run(absl::Seconds(20));
    world_.coordinator().Moved(c_.peer(), 1000);
    EXPECT_EQ(round().value, 1u);
  }
  EXPECT_EQ(world_.Snapshot().sites.at(c_.id()).bytes_received, 6000u);
}

TEST_F(CoordinatorTest, TheSameUpdateAgainGetsTheSameReceipt) {
  OpenRound();
  const TestUpdate update = UpdateOf(a_);
  const auto receipt = world_.Upload(a_, update);
  ASSERT_THAT(receipt, IsOk());
  EXPECT_EQ(receipt->sealed_digest, update.header.sealed_digest);
  const auto query = world_.Query(a_, update.header);
  ASSERT_THAT(query, IsOk());
  ASSERT_TRUE(query->receipt.has_value());
  EXPECT_EQ(query->receipt->sequence, receipt->sequence);
  EXPECT_EQ(query->offset, update.header.size_bytes);
  EXPECT_TRUE(IsWaiting(a_));  // never asked for again
}

TEST_F(CoordinatorTest, AnotherDigestAfterTheReceiptIsRefused) {
  OpenRound();
  const Task task = world_.TaskOf(a_);
  ASSERT_THAT(world_.Upload(a_, world_.Answer(a_, task)), IsOk());
  const TestUpdate second = world_.Answer(a_, task);  // sealed anew
  EXPECT_EQ(ReasonOf(world_.Upload(a_, second).status()),
            RefusalReason::kAlreadyContributed);
  EXPECT_EQ(ReasonOf(world_.Query(a_, second.header).status()),
            RefusalReason::kAlreadyContributed);
}

TEST_F(CoordinatorTest, ANewDigestSupersedesAnUnfinishedUpload) {
  OpenRound();
  const Task task = world_.TaskOf(a_);
  const TestUpdate first = world_.Answer(a_, task);
  const TestUpdate second = world_.Answer(a_, task);
  const auto upload = world_.Begin(a_, first.header, 0);
  ASSERT_THAT(upload, IsOk());
  ASSERT_THAT((*upload)->Append(ByteSpan(first.sealed).first(40)), IsOk());
  EXPECT_EQ(world_.Query(a_, first.header)->offset, 40u);
  ASSERT_THAT(world_.Upload(a_, second), IsOk());
  EXPECT_FALSE((*upload)->Append(ByteSpan(first.sealed).subspan(40)).ok());
}

TEST_F(CoordinatorTest, AnUploadResumesWhereItBroke) {
  OpenRound();
  const TestUpdate update = UpdateOf(a_);
  {
    const auto upload = world_.Begin(a_, update.header, 0);
    ASSERT_THAT(upload, IsOk());
    ASSERT_THAT((*upload)->Append(ByteSpan(update.sealed).first(50)), IsOk());
    world_.coordinator().AbandonUpload(a_.peer(), update.header, *upload);
  }
  EXPECT_THAT(world_.Begin(a_, update.header, 20),
              HasCode(absl::StatusCode::kOutOfRange));
  EXPECT_EQ(world_.Query(a_, update.header)->offset, 50u);
  auto upload = world_.Begin(a_, update.header, 50);
  ASSERT_THAT(upload, IsOk());
  ASSERT_THAT((*upload)->Append(ByteSpan(update.sealed).subspan(50)), IsOk());
  EXPECT_THAT(world_.Finish(a_, update.header, *std::move(upload)), IsOk());
}

TEST_F(CoordinatorTest, BytesThatAreNotTheDigestsAreDroppedAndSentAgain) {
  OpenRound();
  TestUpdate update = UpdateOf(a_);
  const Bytes good = update.sealed;
  for (const size_t at : {size_t{3}, size_t{60}, good.size() - 1}) {
    update.sealed[at] ^= 1;
    EXPECT_EQ(ReasonOf(world_.Upload(a_, update).status()),
              at == 60 ? RefusalReason::kBadSeal : RefusalReason::kBadDigest);
    EXPECT_EQ(world_.Query(a_, update.header)->offset, 0u);
    update.sealed = good;
  }
  EXPECT_THAT(world_.Upload(a_, update), IsOk());
}

TEST_F(CoordinatorTest, ABadUpdateEndsThatSitesContributionNotTheRound) {
  OpenRound();
  const Task task = world_.TaskOf(a_);
  Bytes payload = TestSite::TrainPayload(
      world_.plan(), MakeLayout(),
      FakeDelta(7, a_.id(), task.round, task.model, MakeLayout()), 10);
  payload[0] ^= 1;  // not an update head
  for (int attempt = 0; attempt < 3; ++attempt) {
    ASSERT_FALSE(IsWaiting(a_)) << attempt;  // it may try again, for a while
    const TestUpdate bad = a_.Seal(world_.run(), TestSite::HeaderFor(task),
                                   payload, world_.random);
    EXPECT_EQ(ReasonOf(world_.Upload(a_, bad).status()),
              RefusalReason::kBadLayout);
  }
  EXPECT_TRUE(IsWaiting(a_));
  EXPECT_NE(world_.Snapshot().sites.at(a_.id()).last_refusal, "");
  world_.Contribute({&b_, &c_});
  EXPECT_EQ(round().value, 2u);  // nobody waits for it
  EXPECT_EQ(world_.TaskOf(a_).round.value, 2u);
}

TEST_F(CoordinatorTest, UploadsOfASiteThatDidNotJoinAreRefused) {
  OpenRound();
  const TestSite stranger("stranger");
  const TestUpdate update = world_.Answer(stranger, world_.TaskOf(a_));
  EXPECT_EQ(ReasonOf(world_.Upload(stranger, update).status()),
            RefusalReason::kNoTask);
  EXPECT_EQ(ReasonOf(world_.Report(stranger, {1}, {{"n", 1}})),
            RefusalReason::kNotAllowed);
}

TEST_F(CoordinatorTest, AnUploadAboveTheOperatorsLimitIsRefused) {
  world_.options.upload_size_bytes_max = 100;
  ASSERT_THAT(world_.Reopen(), IsOk());
  OpenRound();
  EXPECT_EQ(ReasonOf(world_.Upload(a_, UpdateOf(a_)).status()),
            RefusalReason::kBadSize);
}

TEST_F(CoordinatorTest, EvaluatesAndPoolsTheMetricsExactly) {
  PlanSpec spec;
  spec.rounds = 2;
  spec.evaluate_every = 1;
  OpenRound(spec);
  world_.Contribute(All());
  ASSERT_EQ(world_.state(), "evaluating");
  const Task task = world_.TaskOf(a_);
  EXPECT_EQ(task.kind, TaskKind::kEvaluate);
  EXPECT_EQ(task.split, "val");
  EXPECT_EQ(task.model, world_.Snapshot().model);
  world_.Contribute(All());
  ASSERT_EQ(round().value, 2u);
  const EvaluationLayout layout(2);
  std::vector<double> sums(static_cast<size_t>(layout.Count()));
  for (const TestSite* site : All()) {
    const auto one = FakeSums(7, site->id(), task.model);
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += one[i];
  }
  const auto expected = EvaluationMetrics(layout, sums);
  ASSERT_THAT(expected, IsOk());
  const auto& metrics = world_.coordinator().History()[0].metrics;
  EXPECT_EQ(metrics.at("n"), 120);
  for (const auto& [name, value] : *expected) {
    EXPECT_NEAR(metrics.at(name), value, 1e-6) << name;
  }
  world_.Contribute(All());
  EXPECT_EQ(world_.TaskOf(a_).split, "test");  // after the last round
  world_.Contribute(All());
  EXPECT_EQ(world_.state(), "finished");
}

TEST_F(CoordinatorTest, AnEvaluationNeedsNoQuorumAndClosesAtTheDeadline) {
  PlanSpec spec;
  spec.rounds = 1;
  spec.evaluate_every = 1;
  OpenRound(spec);
  world_.Contribute(All());
  ASSERT_EQ(world_.state(), "evaluating");
  world_.Run(absl::Minutes(11));
  EXPECT_EQ(world_.state(), "finished");
  EXPECT_TRUE(world_.coordinator().History()[0].metrics.empty());
}

// The solver's rounds come first and have no number of their own in the plan;
// then training starts from its head.
TEST_F(CoordinatorTest, SolvesTheHeadThenTrainsFromIt) {
  PlanSpec spec;
  spec.rounds = 2;
  spec.solver = true;
  spec.evaluate_every = 1;
  OpenRound(spec);
  SolverState expected = InitialSolverState(world_.plan(), 5);
  Task task = world_.TaskOf(a_);
  while (task.kind == TaskKind::kSolve) {
    EXPECT_EQ(world_.state(), "solving");
    EXPECT_EQ(task.training_round.value, 0u);
    const SolvePoint point = NextPoint(world_.plan(), expected);
    EXPECT_EQ(task.model, Sha256(EncodeSolvePoint(point)));
    world_.Contribute(All());
    std::vector<uint64_t> words(SolveLayout(point).words());
    for (const TestSite* site : All()) {
      const auto packed =
          *PackSolveSums(point, 16, FakeSolveSums(7, site->id(), point));
      for (size_t i = 0; i < words.size(); ++i) words[i] += packed[i];
    }
    expected = *Advance(world_.plan(), expected, UnpackSolveSums(point, words));
    task = world_.TaskOf(a_);
  }
  ASSERT_TRUE(expected.done);
  const uint32_t solved = expected.rounds;
  // The solved head is evaluated once, then training begins.
  EXPECT_EQ(task.kind, TaskKind::kEvaluate);
  EXPECT_EQ(task.split, "val");
  const ParameterLayout layout = MakeLayout();
  ParameterVector values = MakeModel().initial;
  SetHead(world_.plan(), layout, PublishedHead(expected), values);
  EXPECT_EQ(task.model, Sha256(EncodeTrainableSet(layout, values)));
  world_.Contribute(All());
  for (uint32_t round = 1; round <= 2; ++round) {
    task = world_.TaskOf(a_);
    ASSERT_EQ(task.kind, TaskKind::kTrain);
    EXPECT_EQ(task.training_round.value, round);
    EXPECT_EQ(task.round.value, solved + round);
    world_.Contribute(All());
    EXPECT_EQ(world_.TaskOf(a_).kind, TaskKind::kEvaluate);
    world_.Contribute(All());
  }
  EXPECT_EQ(world_.state(), "finished");
  const auto& history = world_.coordinator().History();
  ASSERT_EQ(history.size(), solved + 2);
  EXPECT_EQ(history[solved - 1].metrics.at("solve_converged"), 1);
  EXPECT_EQ(history[solved - 1].metrics.at("solve_rounds_total"), solved);
}

TEST_F(CoordinatorTest, ASolveStepOutlivesARestart) {
  for (const uint64_t inline_max : {uint64_t{1} << 18, uint64_t{100}}) {
    RoundWorld world(5);
    world.options.inline_bytes_max = inline_max;
    ASSERT_THAT(world.Open(), IsOk());
    PlanSpec spec;
    spec.solver = true;
    world.StartRun(spec);
    world.JoinAll(All());
    world.Contribute(All());
    world.Contribute(All());
    const Digest point = world.TaskOf(a_).model;
    ASSERT_THAT(world.Reopen(), IsOk());
    world.JoinAll(All());
    EXPECT_EQ(world.TaskOf(a_).model, point);
    while (world.state() == "solving") world.Contribute(All());
    EXPECT_EQ(world.TaskOf(a_).kind, TaskKind::kTrain);
    // Old states and points do not pile up.
    EXPECT_LE(world.files.List("blobs")->size(), 3u);
  }
}

// What gathering makes of the honest sums of these sites.
GatheredStatistics GatheredOf(const Plan& plan, const Digest& model,
                              const std::vector<const TestSite*>& sites) {
  const StatisticsLayout layout(plan, MakeLayout());
  GatheredStatistics gathered;
  gathered.model = model;
  gathered.words.resize(static_cast<size_t>(layout.count()));
  for (const TestSite* site : sites) {
    const auto words = *PackStatistics(
        layout, MaxTerms(plan), FakeStatistics(7, site->id(), model, layout));
    for (size_t i = 0; i < words.size(); ++i) gathered.words[i] += words[i];
  }
  return gathered;
}

TEST_F(CoordinatorTest, GathersStatisticsThenTrainsWithThem) {
  PlanSpec spec;
  spec.rounds = 2;
  spec.gathers = true;
  spec.evaluate_every = 1;
  OpenRound(spec);
  Task task = world_.TaskOf(a_);
  EXPECT_EQ(task.kind, TaskKind::kGather);
  EXPECT_EQ(task.training_round.value, 0u);
  EXPECT_EQ(task.statistics_size_bytes, 0u);
  EXPECT_EQ(world_.Snapshot().rounds, 3u);
  const Digest start = task.model;
  GatheredStatistics expected = GatheredOf(world_.plan(), start, All());
  expected.model_bytes = EncodeTrainableSet(MakeLayout(), MakeModel().initial);
  world_.Contribute(All());
  for (uint32_t round = 1; round <= 2; ++round) {
    task = world_.TaskOf(a_);
    ASSERT_EQ(task.kind, TaskKind::kTrain);
    EXPECT_EQ(task.training_round.value, round);
    EXPECT_EQ(task.round.value, round + 1);
    EXPECT_EQ(task.statistics, Sha256(EncodeGathered(expected)));
    const auto blob = world_.Blob(a_, task.statistics);
    ASSERT_THAT(blob, IsOk());
    EXPECT_EQ(*blob, EncodeGathered(expected));
    EXPECT_EQ(blob->size(), task.statistics_size_bytes);
    world_.Contribute(All());
    EXPECT_EQ(world_.TaskOf(a_).kind, TaskKind::kEvaluate);
    EXPECT_EQ(world_.TaskOf(a_).statistics_size_bytes, 0u);
    world_.Contribute(All());
  }
  EXPECT_EQ(world_.state(), "finished");
  const auto& history = world_.coordinator().History();
  ASSERT_EQ(history.size(), 3u);
  EXPECT_EQ(history[0].metrics.at("gathered_records"), expected.records());
}

TEST_F(CoordinatorTest, StatisticsThatItWouldNotTakeAreRefusedAtTheStart) {
  PlanSpec spec;
  spec.gathers = true;
  world_.options.upload_size_bytes_max = 1000;  // fits 32-bit words, not 64
  ASSERT_THAT(world_.Reopen(), IsOk());
  absl::Status status;
  world_.coordinator().StartRun(
      MakePlan(spec), MakeModel(/*extra=*/150),
      [&](const absl::StatusOr<RunId>& run) { status = run.status(); });
  world_.Run();
  EXPECT_THAT(status, IsError(absl::StatusCode::kInvalidArgument,
                              "bytes a site, this aggregator takes"));
}

TEST_F(CoordinatorTest, GathersAtTheSolvedHead) {
  PlanSpec spec;
  spec.solver = spec.gathers = true;
  OpenRound(spec);
  while (world_.state() == "solving") world_.Contribute(All());
  ASSERT_EQ(world_.state(), "gathering");
  const Task task = world_.TaskOf(a_);
  EXPECT_EQ(task.model, world_.Snapshot().model);
  EXPECT_NE(task.model, world_.run().initial_model);
  world_.Contribute(All());
  EXPECT_EQ(world_.TaskOf(a_).training_round.value, 1u);
}

TEST_F(CoordinatorTest, GatheringOutlivesRestartsAtEachStep) {
  for (const uint64_t inline_max : {uint64_t{1} << 18, uint64_t{100}}) {
    RoundWorld world(5);
    world.options.inline_bytes_max = inline_max;
    ASSERT_THAT(world.Open(), IsOk());
    PlanSpec spec;
    spec.quorum = 3;
    spec.gathers = true;
    world.StartRun(spec);
    world.JoinAll(All());
    ASSERT_EQ(world.state(), "gathering");
    const Digest start = world.TaskOf(a_).model;
    world.Contribute({&a_, &b_});
    world.Crash();
    ASSERT_THAT(world.Open(), IsOk());
    EXPECT_EQ(world.state(), "gathering");
    // After the last acknowledgement, before the record of the sum.
    ASSERT_THAT(world.Upload(c_, world.Answer(c_, world.TaskOf(c_))), IsOk());
    world.Crash();
    ASSERT_THAT(world.Open(), IsOk());
    world.Run();
    GatheredStatistics expected = GatheredOf(world.plan(), start, All());
    expected.model_bytes =
        EncodeTrainableSet(MakeLayout(), MakeModel().initial);
    for (int restart = 0; restart < 2; ++restart) {
      const Task task = world.TaskOf(a_);
      EXPECT_EQ(task.kind, TaskKind::kTrain);
      EXPECT_EQ(task.statistics, Sha256(EncodeGathered(expected)));
      EXPECT_EQ(*world.Blob(a_, task.statistics), EncodeGathered(expected));
      world.Crash();
      ASSERT_THAT(world.Open(), IsOk());
    }
  }
}

TEST_F(CoordinatorTest, AStatisticOfNoRecordIsRefused) {
  PlanSpec spec;
  spec.solver = true;
  OpenRound(spec);
  const Task task = world_.TaskOf(a_);
  const SolvePoint point = *DecodeSolvePoint(task.model_inline);
  const Bytes payload = TestSite::SolvePayload(
      world_.plan(), point, std::vector<double>(SolveLayout(point).count()));
  const auto receipt = world_.Upload(
      a_,
      a_.Seal(world_.run(), TestSite::HeaderFor(task), payload, world_.random));
  EXPECT_EQ(RefusalOf(receipt.status()), RefusalReason::kBadLayout);
}

// Fake evaluations are functions of the model, so their losses jump about.
TEST_F(CoordinatorTest, EarlyStoppingPublishesTheBestModelAndTestsIt) {
  for (const uint64_t inline_max : {uint64_t{1} << 18, uint64_t{100}}) {
    RoundWorld world(3);
    world.options.inline_bytes_max = inline_max;
    ASSERT_THAT(world.Open(), IsOk());
    PlanSpec spec;
    spec.rounds = 30;
    spec.evaluate_every = 1;
    spec.patience = 3;
    world.StartRun(spec);
    world.JoinAll(All());
    double least = 1e300;
    int since = 0;
    uint32_t rounds = 0;
    Digest best;
    while (since < 3) {
      ASSERT_LT(rounds, 30u);
      world.Contribute(All());
      ++rounds;
      const Task task = world.TaskOf(a_);
      ASSERT_EQ(task.kind, TaskKind::kEvaluate);
      EXPECT_EQ(task.split, "val");
      world.Contribute(All());
      const double loss =
          world.coordinator().History().back().metrics.at("loss");
      ++since;
      if (loss < least) {
        least = loss;
        best = task.model;
        since = 0;
      }
    }
    const Task last = world.TaskOf(a_);
    EXPECT_EQ(last.kind, TaskKind::kEvaluate);
    EXPECT_EQ(last.split, "test");
    EXPECT_EQ(last.model, best);
    EXPECT_EQ(last.training_round.value, rounds - 3);
    ASSERT_THAT(world.Reopen(), IsOk());  // in the middle of the stop
    world.JoinAll(All());
    world.Contribute(All());
    EXPECT_EQ(world.state(), "finished");
    EXPECT_EQ(world.Snapshot().model, best);
    EXPECT_EQ(world.coordinator().History().size(), rounds + 1);
  }
}

TEST_F(CoordinatorTest, PauseKeepsEverythingAndAsksNobody) {
  OpenRound();
  world_.Contribute({&a_});
  ASSERT_THAT(world_.Pause(true), IsOk());
  EXPECT_EQ(world_.state(), "paused");
  EXPECT_TRUE(IsWaiting(b_));
  world_.Run(absl::Hours(3));  // no deadline, no silence
  EXPECT_EQ(world_.state(), "paused");
  ASSERT_THAT(world_.Pause(false), IsOk());
  EXPECT_TRUE(IsWaiting(a_));  // its contribution stands
  world_.Contribute({&b_, &c_});
  EXPECT_EQ(round().value, 2u);
}

TEST_F(CoordinatorTest, WhatArrivesDuringAPauseIsKeptButNotReduced) {
  OpenRound();
  const TestUpdate update = UpdateOf(a_);
  world_.Contribute({&b_, &c_});
  ASSERT_THAT(world_.Pause(true), IsOk());
  ASSERT_THAT(world_.Upload(a_, update), IsOk());
  world_.Run(absl::Minutes(1));
  EXPECT_EQ(round().value, 1u);
  ASSERT_THAT(world_.Pause(false), IsOk());
  world_.Run();
  EXPECT_EQ(round().value, 2u);
}

TEST_F(CoordinatorTest, StopTellsSitesAndLetsAnotherRunStart) {
  OpenRound();
  world_.Contribute({&a_});
  EXPECT_THAT(world_.Stop(), IsOk());
  EXPECT_EQ(world_.state(), "stopped");
  const auto next = world_.NextTask(b_);
  ASSERT_THAT(next, IsOk());
  EXPECT_TRUE(std::get<RunFinished>(*next).stopped);
  EXPECT_THAT(world_.Stop(), HasCode(absl::StatusCode::kFailedPrecondition));
  world_.StartRun({});
  EXPECT_EQ(world_.state(), "enrolling");
}

TEST_F(CoordinatorTest, StopDuringTheReduceDiscardsItsResult) {
  OpenRound();
  for (const TestSite* site : All()) {
    ASSERT_THAT(world_.Upload(*site, UpdateOf(*site)), IsOk());
  }
  ASSERT_EQ(world_.state(), "reducing");
  const Digest before = world_.Snapshot().model;
  EXPECT_THAT(world_.Stop(), IsOk());
  EXPECT_EQ(world_.state(), "stopped");
  EXPECT_EQ(world_.Snapshot().model, before);
}

TEST_F(CoordinatorTest, ASecondRunIsRefusedWhileOneIsOpen) {
  world_.StartRun({});
  std::optional<absl::StatusOr<RunId>> answer;
  world_.coordinator().StartRun(MakePlan({}), MakeModel(),
                                [&](auto run) { answer = std::move(run); });
  world_.Run();
  ASSERT_TRUE(answer.has_value());
  EXPECT_THAT(*answer,
              IsError(absl::StatusCode::kFailedPrecondition, "is open"));
}

TEST_F(CoordinatorTest, StartRefusesAModelThatDoesNotFit) {
  std::optional<absl::StatusOr<RunId>> answer;
  RunModel model = MakeModel();
  model.initial.pop_back();
  world_.coordinator().StartRun(MakePlan({}), std::move(model),
                                [&](auto run) { answer = std::move(run); });
  world_.Run();
  ASSERT_TRUE(answer.has_value());
  EXPECT_THAT(*answer, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(world_.state(), "idle");
}

TEST_F(CoordinatorTest, ARevokedSiteLeavesTheRoundAtOnce) {
  OpenRound();
  world_.Contribute({&a_, &b_});
  std::optional<absl::StatusOr<bool>> heard;
  world_.TaskOf(c_);
  world_.coordinator().Revoked(c_.id());
  world_.Run();
  EXPECT_EQ(round().value, 2u);  // nobody waits for it
}

TEST_F(CoordinatorTest, RevocationEndsAParkedPoll) {
  world_.StartRun({});
  world_.JoinAll({&a_});
  std::optional<absl::StatusOr<NextTaskReply>> answer;
  world_.coordinator().NextTask(a_.peer(), {world_.run().run, absl::Minutes(1)},
                                [&](auto reply) { answer = std::move(reply); });
  world_.coordinator().Revoked(a_.id());
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(ReasonOf(answer->status()), RefusalReason::kNotAllowed);
}

TEST_F(CoordinatorTest, AnUpdateBeingVerifiedWhenItsSiteIsRevokedIsRefused) {
  OpenRound();
  const TestUpdate update = UpdateOf(a_);
  auto upload = world_.Begin(a_, update.header, 0);
  ASSERT_THAT(upload, IsOk());
  ASSERT_THAT((*upload)->Append(update.sealed), IsOk());
  std::optional<absl::StatusOr<UploadReceipt>> answer;
  world_.coordinator().FinishUpload(
      a_.peer(), update.header, *std::move(upload),
      [&](auto receipt) { answer = std::move(receipt); });
  world_.coordinator().Revoked(a_.id());
  world_.Run();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(ReasonOf(answer->status()), RefusalReason::kNotAllowed);
  world_.Contribute({&b_, &c_});
  EXPECT_EQ(world_.coordinator().History()[0].sites.size(), 2u);
}

TEST_F(CoordinatorTest, ReportsAreShownAndBounded) {
  OpenRound();
  EXPECT_THAT(world_.Report(a_, {1}, {{"auc", 0.75}}), IsOk());
  EXPECT_EQ(world_.Snapshot().sites.at(a_.id()).scalars.at("auc"), 0.75);
  EXPECT_EQ(ReasonOf(world_.Report(a_, {2}, {{"auc", 0.75}})),
            RefusalReason::kWrongRound);
  absl::Status last;
  for (int i = 0; i < 40 && last.ok(); ++i) {
    last = world_.Report(a_, {1}, {{"auc", 0.01 * i}});
  }
  EXPECT_EQ(ReasonOf(last), RefusalReason::kNotAllowed);
}

TEST_F(CoordinatorTest, ASiteThatDeclinesIsShownAndNotWaitedFor) {
  PlanSpec spec;
  spec.rounds = 2;
  spec.quorum = 2;
  OpenRound(spec);
  SiteReport report{
      world_.TaskOf(a_).run, {1}, {}, "policy.epsilon_max: spent"};
  std::optional<absl::Status> answer;
  world_.coordinator().Report(
      a_.peer(), report, [&](const auto& done) { answer = done.status(); });
  world_.Run();
  ASSERT_TRUE(answer.has_value());
  EXPECT_THAT(*answer, IsOk());
  const auto site = world_.Snapshot().sites.at(a_.id());
  EXPECT_EQ(site.last_refusal, "by the site: policy.epsilon_max: spent");
  EXPECT_TRUE(IsWaiting(a_));
  // Before the deadline, with all that are left.
  world_.Contribute({&b_, &c_});
  EXPECT_EQ(world_.coordinator().History()[0].sites.size(), 2u);
  EXPECT_EQ(round().value, 2u);
  // Asked again in the next round.
  EXPECT_FALSE(IsWaiting(a_));
}

TEST_F(CoordinatorTest, ServesOnlyBlobsOfTheRunAndOnlyToMembers) {
  OpenRound();
  const Digest model = world_.Snapshot().model;
  EXPECT_THAT(world_.Blob(a_, model), IsOk());
  EXPECT_THAT(world_.Blob(TestSite("stranger"), model),
              HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(world_.Blob(a_, Sha256(AsBytes("else"))),
              HasCode(absl::StatusCode::kNotFound));
}

TEST_F(CoordinatorTest, LargeModelsTravelAsBlobsAndUpdatesThroughTheSpool) {
  PlanSpec spec;
  spec.rounds = 2;
  OpenRound(spec, /*extra=*/400'000);
  const Task task = world_.TaskOf(a_);
  EXPECT_TRUE(task.model_inline.empty());
  ASSERT_THAT(world_.Blob(a_, task.model), IsOk());
  EXPECT_EQ(world_.Blob(a_, task.model)->size(), task.model_size_bytes);
  world_.Contribute(All());
  ASSERT_EQ(round().value, 2u);
  const Digest second = world_.Snapshot().model;
  world_.Run();
  const auto in_spool = [&] {
    std::vector<std::string> paths = world_.files.AllPaths();
    std::erase_if(paths, [](const std::string& path) {
      return path.rfind("spool/", 0) == std::string::npos;
    });
    return paths;
  };
  // The second round writes over the files of the first.
  const std::vector<std::string> spares = in_spool();
  EXPECT_EQ(spares.size(), All().size());
  world_.Contribute({&a_});
  EXPECT_EQ(in_spool(), spares);
  world_.Contribute({&b_, &c_});
  world_.Run();
  EXPECT_EQ(world_.state(), "finished");
  // What the rounds needed is gone again; the initial model stays.
  EXPECT_TRUE(in_spool().empty());
  EXPECT_THAT(world_.Blob(a_, world_.Snapshot().model), IsOk());
  EXPECT_THAT(world_.Blob(a_, task.model), IsOk());
  EXPECT_FALSE(world_.files.Exists("blobs/" + second.Hex()));
}

TEST_F(CoordinatorTest, PendingCallsAreAnsweredWhenItEnds) {
  world_.StartRun({});
  world_.JoinAll({&a_});
  std::optional<absl::StatusOr<NextTaskReply>> answer;
  world_.coordinator().NextTask(a_.peer(), {world_.run().run, absl::Minutes(1)},
                                [&](auto reply) { answer = std::move(reply); });
  world_.Kill();
  ASSERT_TRUE(answer.has_value());
  EXPECT_THAT(*answer, HasCode(absl::StatusCode::kUnavailable));
}

TEST_F(CoordinatorTest, TellsItsListenerOfChanges) {
  int changes = 0;
  world_.coordinator().SetListener([&] { ++changes; });
  OpenRound();
  EXPECT_GT(changes, 3);
}

}  // namespace
}  // namespace fedgraft
