#include "client/agent/agent.h"

#include <cmath>

#include "client/agent/agent_state.h"
#include "common/config/plan_loader.h"
#include "common/crypto/sha256.h"
#include "common/protocol/statements.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/agent/agent_world.h"

namespace fedgraft::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::Not;

absl::Status Lost() { return absl::UnavailableError("connection lost"); }

class AgentTest : public ::testing::Test {
 protected:
  void OfferTrain(uint32_t round) {
    world_.aggregator.Offer(
        world_.aggregator.MakeTask(round, TaskKind::kTrain));
  }
  void OfferEvaluate(uint32_t round) {
    world_.aggregator.Offer(
        world_.aggregator.MakeTask(round, TaskKind::kEvaluate));
  }
  // Starts the agent and expects it to end well.
  void RunWell() {
    world_.Start();
    ASSERT_TRUE(world_.RunToEnd());
    ASSERT_TRUE(world_.ended->ok()) << *world_.ended;
  }
  // Starts the agent, expects it to refuse the run and to have sent nothing,
  // and returns why.
  std::string RunRefused(absl::StatusCode code) {
    OfferTrain(1);
    world_.Start();
    EXPECT_TRUE(world_.RunToEnd());
    if (!world_.ended.has_value()) return "";
    EXPECT_EQ(world_.ended->code(), code) << *world_.ended;
    EXPECT_EQ(world_.aggregator.Count("NextTask"), 0);
    EXPECT_EQ(world_.aggregator.Count("Submit"), 0);
    EXPECT_EQ(world_.audit.Detail("run_refused"),
              std::string(world_.ended->message()));
    return std::string(world_.ended->message());
  }

  AgentWorld world_;
};

TEST_F(AgentTest, TakesPartInARunFromJoinToFinalModel) {
  OfferTrain(1);
  OfferEvaluate(1);
  OfferTrain(2);
  RunWell();
  FakeAggregator& aggregator = world_.aggregator;
  // One call after another; no question before a first upload, and the next
  // task is asked for right after the receipt.
  EXPECT_THAT(aggregator.CallNames(),
              ElementsAre("Join", "Fetch@0", "Fetch@0", "NextTask", "Submit@0",
                          "NextTask", "Submit@0", "NextTask", "Submit@0",
                          "NextTask", "Fetch@0"));
  ASSERT_EQ(aggregator.acknowledged.size(), 3u);
  for (const UploadHeader& header : aggregator.acknowledged) {
    EXPECT_TRUE(VerifySignature(world_.site_key.PublicKey(),
                                UploadStatement(SiteId{"north"}, header),
                                header.signature)
                    .ok());
  }
  EXPECT_THAT(world_.audit.Names(),
              ElementsAre("join", "unmasked", "update", "update", "update",
                          "run_finished"));
  EXPECT_EQ(world_.audit.events[2].bytes,
            aggregator.acknowledged[0].size_bytes);
  EXPECT_EQ(world_.audit.events[2].digest,
            aggregator.acknowledged[0].sealed_digest);
  EXPECT_EQ(world_.files.Content("runs/run-1/final.safetensors"),
            aggregator.blobs[aggregator.finished.model]);
  const auto finished = ReadFinishedRun(world_.files, RunId{"run-1"});
  ASSERT_TRUE(finished.ok()) << finished.status();
  EXPECT_EQ(finished->rounds, 5u);
  // The update in the clear does not stay.
  EXPECT_FALSE(world_.files.Exists(kWorkDeltaPath));
  const AgentSnapshot snapshot = world_.agent().Snapshot();
  EXPECT_EQ(snapshot.contributions, 2u);
  EXPECT_EQ(snapshot.final_model, aggregator.finished.model);
  EXPECT_GT(snapshot.bytes_sent, 0u);
  EXPECT_GT(snapshot.bytes_received, aggregator.backbone.size());
}

TEST_F(AgentTest, APlanWithMasksLetsOutNoUpdateWithoutThem) {
  world_.aggregator.MakeSecure();
  world_.options.pinned_roster = [site = world_.options.site] {
    Roster roster;
    roster.keys[site] = Bytes(32, 1);
    return absl::StatusOr<Roster>(roster);
  };
  OfferTrain(1);
  world_.Start();
  world_.loop.RunFor(absl::Seconds(20));
  EXPECT_EQ(world_.aggregator.Count("Submit"), 0);
  EXPECT_THAT(world_.audit.Detail("task_failed"), HasSubstr("without masks"));
}

TEST_F(AgentTest, StepsOfSecureAggregationAreAnsweredOnceAuditedBefore) {
  world_.aggregator.MakeSecure();
  world_.options.pinned_roster = [site = world_.options.site] {
    Roster roster;
    roster.keys[site] = Bytes(32, 1);
    return absl::StatusOr<Roster>(roster);
  };
  Task task = world_.aggregator.MakeTask(1, TaskKind::kTrain);
  task.secure = {SecureStep::kAdvertise, 1, {}};
  world_.aggregator.Offer(task);
  RunWell();
  EXPECT_EQ(world_.aggregator.Count("AnswerStep advertise"), 1);
  EXPECT_EQ(world_.audit.Detail("secure_step"), "train, advertise, attempt 1");
  EXPECT_TRUE(world_.files.Exists("secagg/session.1"));
}

TEST_F(AgentTest, ARunWithMasksNeedsAPinnedRosterWithThisSite) {
  world_.aggregator.MakeSecure();
  EXPECT_THAT(RunRefused(absl::StatusCode::kFailedPrecondition),
              HasSubstr("no roster is pinned"));
}

TEST_F(AgentTest, AsksForTheNextTaskInTheMomentOfTheReceipt) {
  OfferTrain(1);
  OfferTrain(2);
  RunWell();
  const auto& calls = world_.aggregator.calls;
  for (size_t i = 1; i < calls.size(); ++i) {
    if (calls[i - 1].call != "Submit@0") continue;
    EXPECT_EQ(calls[i].call, "NextTask");
    EXPECT_EQ(calls[i].time - calls[i - 1].time, absl::Milliseconds(1));
  }
}

TEST_F(AgentTest, FetchesAModelThatIsNotInTheTask) {
  world_.aggregator.Offer(
      world_.aggregator.MakeTask(1, TaskKind::kTrain, /*inline_model=*/false));
  // The same model again: it is at hand.
  world_.aggregator.Offer(world_.aggregator.MakeTask(1, TaskKind::kEvaluate,
                                                     /*inline_model=*/false));
  RunWell();
  EXPECT_EQ(world_.aggregator.Count("Fetch"), 4);  // and backbone, start, end
  EXPECT_EQ(world_.aggregator.acknowledged.size(), 2u);
}

TEST_F(AgentTest, WaitsWhileNoRunIsOpenAndKeepsTheBackboneForTheNextRun) {
  world_.options.exit_when_finished = false;
  const RunDescriptor first = *world_.aggregator.run;
  world_.aggregator.run.reset();
  world_.Start();
  world_.loop.RunFor(absl::Seconds(60));
  EXPECT_EQ(world_.agent().Snapshot().state, AgentState::kIdle);
  EXPECT_LE(world_.aggregator.Count("Join"), 65);

  world_.aggregator.run = first;
  OfferTrain(1);
  world_.loop.RunFor(absl::Seconds(10));
  EXPECT_EQ(world_.agent().Snapshot().state, AgentState::kIdle);
  EXPECT_TRUE(world_.files.Exists("runs/run-1/final.safetensors"));
  const int fetches = world_.aggregator.Count("Fetch");

  world_.aggregator.run->run = RunId{"run-2"};
  world_.aggregator.finished.run = RunId{"run-2"};
  world_.aggregator.Sign();
  OfferTrain(1);
  world_.loop.RunFor(absl::Seconds(10));
  EXPECT_EQ(world_.aggregator.acknowledged.back().run, RunId{"run-2"});
  EXPECT_EQ(world_.aggregator.Count("Fetch"), fetches + 2);  // models only
}

TEST_F(AgentTest, AFinishedRunIsNotTakenUpAgainAfterARestart) {
  OfferTrain(1);
  RunWell();
  world_.Kill();
  world_.ended.reset();
  const int fetches = world_.aggregator.Count("Fetch");
  world_.Start();
  world_.loop.RunFor(absl::Minutes(1));
  EXPECT_EQ(world_.agent().Snapshot().state, AgentState::kIdle);
  EXPECT_EQ(world_.aggregator.Count("Fetch"), fetches);
  EXPECT_FALSE(world_.ended.has_value());
}

TEST_F(AgentTest, FetchesTheFinalModelOfARunThatEndedWhileItWasAway) {
  OfferTrain(1);
  OfferTrain(2);
  world_.Start();
  ASSERT_TRUE(world_.loop.RunUntilTrue(
      [&] { return world_.aggregator.acknowledged.size() == 1; },
      absl::Minutes(1)));
  world_.Kill();
  world_.aggregator.tasks.clear();  // the others made the quorum
  RunWell();
  EXPECT_TRUE(world_.files.Exists("runs/run-1/final.safetensors"));
  EXPECT_FALSE(world_.files.Exists("runs/run-1/update-train.sealed"));
}

// Runs that must not be taken part in.

TEST_F(AgentTest, RefusesAPlanThatThePolicyDoesNotAllow) {
  world_.options.policy.cohort_min = 4;
  EXPECT_THAT(RunRefused(absl::StatusCode::kPermissionDenied),
              HasSubstr("policy.cohort_min: the plan wants a quorum of 3"));
  EXPECT_EQ(world_.aggregator.Count("Fetch"), 0);
  EXPECT_EQ(world_.trainer.configured, 0);
}

TEST_F(AgentTest, RefusesAPlanWithAnotherHash) {
  world_.aggregator.run->plan_hash.bytes[0] ^= 1;
  EXPECT_THAT(RunRefused(absl::StatusCode::kInvalidArgument),
              HasSubstr("plan hash is announced as"));
}

TEST_F(AgentTest, RefusesAPlanThatDoesNotParse) {
  world_.aggregator.plan.bytes.assign(20, 0xff);
  world_.aggregator.Sign();
  RunRefused(absl::StatusCode::kInvalidArgument);
}

TEST_F(AgentTest, RefusesARunKeyThatTheAggregatorDidNotSign) {
  world_.aggregator.run->hpke_key_signature =
      SigningKey::Generate().Sign(RunKeyStatement(
          world_.aggregator.run->run, world_.aggregator.run->plan_hash,
          world_.aggregator.run->hpke_public_key));
  EXPECT_THAT(RunRefused(absl::StatusCode::kPermissionDenied),
              HasSubstr("run key is not signed"));
}

TEST_F(AgentTest, RefusesARunKeyThatWasSignedForAnotherRun) {
  world_.aggregator.run->run = RunId{"run-2"};
  EXPECT_THAT(RunRefused(absl::StatusCode::kPermissionDenied),
              HasSubstr("run key is not signed"));
}

TEST_F(AgentTest, RefusesACertificateThatIsNotAnAggregators) {
  world_.aggregator.run->aggregator_certificate_pem = "a site's certificate";
  EXPECT_THAT(RunRefused(absl::StatusCode::kPermissionDenied),
              HasSubstr("not an aggregator"));
}

TEST_F(AgentTest, RefusesARunIdThatIsAPath) {
  world_.aggregator.run->run = RunId{"../../etc"};
  world_.aggregator.Sign();
  EXPECT_THAT(RunRefused(absl::StatusCode::kInvalidArgument),
              HasSubstr("run id must be"));
}

TEST_F(AgentTest, RefusesToTakePartWithTooFewImages) {
  world_.trainer.samples = 9;
  EXPECT_THAT(RunRefused(absl::StatusCode::kPermissionDenied),
              HasSubstr("policy.samples_min: this site has 9"));
}

TEST_F(AgentTest, RefusesATrainerThatDerivesAnotherTrainableSet) {
  world_.trainer.layout = Digest();
  EXPECT_THAT(RunRefused(absl::StatusCode::kFailedPrecondition),
              HasSubstr("the run's model has"));
}

TEST_F(AgentTest, RefusesABackboneThatNeverHasItsDigest) {
  world_.aggregator.blobs[Sha256(world_.aggregator.backbone)][7] ^= 1;
  EXPECT_THAT(RunRefused(absl::StatusCode::kDataLoss),
              HasSubstr("backbone: blob"));
}

TEST_F(AgentTest, ARunOfFeatureVectorsHasNoBackboneToFetch) {
  world_.aggregator.MakeIdentity();
  OfferTrain(1);
  RunWell();
  EXPECT_EQ(world_.aggregator.Count("Fetch"), 2);  // start and end
  EXPECT_EQ(world_.aggregator.acknowledged.size(), 1u);
}

TEST_F(AgentTest, RefusesABackboneWhereThePlanHasNone) {
  world_.aggregator.MakeIdentity();
  world_.aggregator.run->backbone_size_bytes = 1000;
  EXPECT_THAT(RunRefused(absl::StatusCode::kInvalidArgument),
              HasSubstr("a backbone of 1000 bytes is announced, the plan's "
                        "architecture is identity"));
}

TEST_F(AgentTest, RefusesNoBackboneWhereThePlanHasOne) {
  world_.aggregator.run->backbone_size_bytes = 0;
  EXPECT_THAT(RunRefused(absl::StatusCode::kInvalidArgument),
              HasSubstr("a backbone of 0 bytes is announced"));
}

TEST_F(AgentTest, RefusesABackboneThatIsLongerThanAnnounced) {
  world_.aggregator.run->backbone_size_bytes = 950;
  OfferTrain(1);
  world_.Start();
  world_.loop.RunFor(absl::Seconds(30));
  EXPECT_THAT(world_.agent().Snapshot().last_error,
              HasSubstr("longer than the 950 bytes expected"));
  EXPECT_EQ(world_.aggregator.Count("NextTask"), 0);
}

TEST_F(AgentTest, ARefusedRunIsLeftAloneUntilAnotherOneOpens) {
  world_.options.exit_when_finished = false;
  world_.options.policy.rounds_max = 4;
  world_.aggregator.finish = false;
  world_.Start();
  world_.loop.RunFor(absl::Minutes(5));
  EXPECT_EQ(world_.agent().Snapshot().state, AgentState::kRefused);
  EXPECT_THAT(world_.audit.Names(), ElementsAre("run_refused"));
  EXPECT_EQ(world_.aggregator.Count("NextTask"), 0);
}

TEST_F(AgentTest, DoesNotTalkToAnotherFederation) {
  world_.aggregator.federation = "other";
  world_.Start();
  world_.loop.RunFor(absl::Minutes(10));
  EXPECT_THAT(world_.agent().Snapshot().last_error,
              HasSubstr("of federation 'other', this site of 'fed'"));
  EXPECT_LE(world_.aggregator.Count("Join"), 35);
  EXPECT_EQ(world_.aggregator.Count("Fetch"), 0);
}

// Lost connections.

TEST_F(AgentTest, ComesBackWithGrowingJitteredPausesThatResetOnSuccess) {
  world_.options.exit_when_finished = false;
  for (int i = 0; i < 12; ++i)
    world_.aggregator.faults["Join"].push_back(Lost());
  world_.aggregator.finish = false;
  world_.Start();
  world_.loop.RunFor(absl::Minutes(10));
  ASSERT_EQ(world_.agent().Snapshot().state, AgentState::kWaiting);
  const auto& calls = world_.aggregator.calls;
  double ceiling = 0.5;
  bool jitter = false;
  for (size_t i = 1; i <= 12; ++i) {
    const double pause =
        absl::ToDoubleSeconds(calls[i].time - calls[i - 1].time) - 0.001;
    EXPECT_GE(pause, ceiling / 2 - 1e-6) << i;
    EXPECT_LE(pause, ceiling) << i;
    jitter |= std::abs(pause - ceiling) > 1e-3;
    ceiling = std::min(30.0, ceiling * 2);
  }
  EXPECT_TRUE(jitter);
  // After the success the first pause is short again.
  const int joins = world_.aggregator.Count("Join");
  world_.aggregator.faults["NextTask"].push_back(Lost());
  world_.loop.RunFor(absl::Seconds(31));
  EXPECT_EQ(world_.aggregator.Count("Join"), joins + 1);
}

TEST_F(AgentTest, ResumesAnUploadWhereItBroke) {
  OfferTrain(1);
  world_.aggregator.cut_submit_after = 50;
  RunWell();
  EXPECT_THAT(world_.aggregator.CallNames(), Contains("Submit@50"));
  EXPECT_EQ(world_.aggregator.Count("Query"), 1);
  EXPECT_EQ(world_.aggregator.acknowledged.size(), 1u);
  EXPECT_EQ(world_.trainer.trained[1], 1);
}

TEST_F(AgentTest, DoesNotSendAgainWhatWasAcknowledgedInALostAnswer) {
  OfferTrain(1);
  world_.aggregator.lose_receipt = true;
  RunWell();
  EXPECT_EQ(world_.aggregator.Count("Submit"), 1);
  EXPECT_EQ(world_.aggregator.Count("Query"), 1);
  EXPECT_EQ(world_.agent().Snapshot().contributions, 1u);
}

TEST_F(AgentTest, SendsAgainWhatWasDamagedOnTheWayButNotForEver) {
  OfferTrain(1);
  world_.aggregator.faults["Submit"] = {
      RefusalError(RefusalReason::kBadDigest, "damaged"),
      RefusalError(RefusalReason::kBadSeal, "damaged"),
      RefusalError(RefusalReason::kStorage, "disk full")};
  RunWell();
  EXPECT_EQ(world_.aggregator.Count("Submit"), 4);

  world_.Kill();
  world_.ended.reset();
  AgentWorld other;
  other.aggregator.Offer(other.aggregator.MakeTask(1, TaskKind::kTrain));
  for (int i = 0; i < 10; ++i) {
    other.aggregator.faults["Submit"].push_back(
        RefusalError(RefusalReason::kBadDigest, "damaged"));
  }
  other.Start();
  other.loop.RunFor(absl::Minutes(10));
  EXPECT_EQ(other.aggregator.Count("Submit"), 3);
  EXPECT_THAT(other.audit.Detail("refused"), HasSubstr("bad_digest"));
}

TEST_F(AgentTest, ResumesTheBackboneAfterALostConnectionAndAfterARestart) {
  OfferTrain(1);
  world_.aggregator.cut_fetch_after = 300;
  world_.aggregator.faults["Fetch"] = {};
  world_.Start();
  world_.loop.RunFor(absl::Milliseconds(50));
  EXPECT_EQ(world_.aggregator.Count("Fetch"), 1);
  world_.aggregator.cut_fetch_after = 700;
  world_.loop.RunFor(absl::Milliseconds(600));
  world_.Kill();
  RunWell();
  EXPECT_THAT(world_.aggregator.CallNames(), Contains("Fetch@300"));
  EXPECT_THAT(world_.aggregator.CallNames(), Contains("Fetch@700"));
  EXPECT_EQ(world_.files.Content(BackbonePath(world_.aggregator.plan.backbone)),
            world_.aggregator.backbone);
}

TEST_F(AgentTest, FetchesAStoredBackboneAgainIfItIsDamaged) {
  const std::string path = BackbonePath(world_.aggregator.plan.backbone);
  world_.files.SetContent(path, Bytes(1000, 1));
  world_.files.SetContent(path + ".part", Bytes(5000, 1));
  OfferTrain(1);
  RunWell();
  EXPECT_EQ(world_.files.Content(path), world_.aggregator.backbone);
}

// Tasks that come to nothing.

TEST_F(AgentTest, LogsAndSkipsARefusedUpdateWithoutAHotLoop) {
  OfferTrain(1);
  world_.aggregator.faults["Submit"] = {
      RefusalError(RefusalReason::kWrongRound, "round 1 is over")};
  world_.Start();
  world_.loop.RunFor(absl::Minutes(10));
  EXPECT_EQ(world_.aggregator.Count("Submit"), 1);
  EXPECT_LE(world_.aggregator.Count("NextTask"), 40);
  EXPECT_EQ(world_.audit.Detail("refused"),
            "train: wrong_round: round 1 is over");
  // The next round is taken part in.
  world_.aggregator.tasks.clear();
  OfferTrain(2);
  ASSERT_TRUE(world_.RunToEnd());
  EXPECT_EQ(world_.aggregator.acknowledged.size(), 1u);
}

TEST_F(AgentTest, JoinsAgainWhenTheAggregatorDoesNotKnowTheTask) {
  OfferTrain(1);
  world_.aggregator.faults["Submit"] = {
      RefusalError(RefusalReason::kNoTask, "no task of this site")};
  RunWell();
  EXPECT_EQ(world_.aggregator.Count("Join"), 2);
  EXPECT_EQ(world_.aggregator.Count("Query"), 1);
  EXPECT_EQ(world_.trainer.trained[1], 1);
  EXPECT_EQ(world_.aggregator.acknowledged.size(), 1u);
}

TEST_F(AgentTest, RefusesANonFiniteUpdateBeforeItIsQuantised) {
  world_.trainer.delta[4] = std::nanf("");
  OfferTrain(1);
  world_.Start();
  world_.loop.RunFor(absl::Minutes(5));
  EXPECT_EQ(world_.aggregator.Count("Submit"), 0);
  EXPECT_EQ(world_.trainer.trained[1], 1);
  EXPECT_THAT(world_.audit.Detail("task_failed"),
              HasSubstr("not finite at fc.weight[2]"));
  EXPECT_FALSE(world_.files.Exists("runs/run-1/update-train.sealed"));
  EXPECT_FALSE(world_.files.Exists(kWorkDeltaPath));
}

TEST_F(AgentTest, RefusesAnUpdateOfTheWrongSize) {
  world_.trainer.delta.pop_back();
  OfferTrain(1);
  world_.Start();
  world_.loop.RunFor(absl::Minutes(1));
  EXPECT_EQ(world_.aggregator.Count("Submit"), 0);
  EXPECT_THAT(world_.audit.Detail("task_failed"),
              HasSubstr("28 bytes, expected 32"));
}

TEST_F(AgentTest, ATrainerCrashCostsARetryNotTheTask) {
  world_.trainer.train_faults = {absl::UnavailableError("signal 11")};
  world_.trainer.configure_faults = {absl::UnavailableError("signal 9")};
  OfferTrain(1);
  RunWell();
  EXPECT_EQ(world_.trainer.trained[1], 2);
  EXPECT_EQ(world_.trainer.configured, 3);
  EXPECT_EQ(world_.aggregator.acknowledged.size(), 1u);
}

TEST_F(AgentTest, ATrainerThatAlwaysCrashesCostsTheTaskNotTheRun) {
  for (int i = 0; i < 4; ++i) {
    world_.trainer.train_faults.push_back(absl::UnavailableError("signal 11"));
  }
  OfferTrain(1);
  world_.Start();
  world_.loop.RunFor(absl::Minutes(10));
  EXPECT_EQ(world_.trainer.trained[1], 4);
  EXPECT_THAT(world_.audit.Detail("task_failed"), HasSubstr("signal 11"));
  world_.aggregator.tasks.clear();
  OfferTrain(2);
  ASSERT_TRUE(world_.RunToEnd());
  EXPECT_EQ(world_.trainer.trained[2], 1);
  EXPECT_EQ(world_.aggregator.acknowledged.size(), 1u);
}

TEST_F(AgentTest, ATrainersOwnErrorIsNotRetried) {
  world_.trainer.train_faults = {
      absl::InvalidArgumentError("label 7 is out of range")};
  OfferTrain(1);
  world_.Start();
  world_.loop.RunFor(absl::Minutes(10));
  EXPECT_EQ(world_.trainer.trained[1], 1);
  EXPECT_LE(world_.aggregator.Count("NextTask"), 40);
  EXPECT_EQ(world_.audit.Detail("task_failed"),
            "train: label 7 is out of range");
}

TEST_F(AgentTest, RefusesTasksThatAreNotOfTheRun) {
  struct Case {
    const char* name;
    void (*change)(Task&);
    const char* message;
  };
  const Case cases[] = {
      {"plan", [](Task& task) { task.plan_hash.bytes[0] ^= 1; }, "joined was"},
      {"round", [](Task& task) { task.round = RoundId{6}; }, "5 rounds"},
      {"round 0", [](Task& task) { task.round = RoundId{0}; }, "5 rounds"},
      {"size", [](Task& task) { task.model_size_bytes = 7; }, "7 bytes"},
      {"model", [](Task& task) { task.model_inline[100] ^= 1; },
       "does not have its digest"},
      {"split",
       [](Task& task) {
         task.kind = TaskKind::kEvaluate;
         task.split = "validation";
       },
       "'validation'"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    AgentWorld world;
    Task task = world.aggregator.MakeTask(1, TaskKind::kTrain);
    c.change(task);
    world.aggregator.Offer(task);
    world.Start();
    world.loop.RunFor(absl::Minutes(5));
    EXPECT_THAT(world.audit.Detail("task_failed"), HasSubstr(c.message));
    EXPECT_EQ(world.aggregator.Count("Submit"), 0);
    EXPECT_THAT(world.trainer.trained, IsEmpty());
  }
}

TEST_F(AgentTest, ReportsAFullDiskAndGoesOnOnceThereIsRoom) {
  OfferTrain(1);
  world_.Start();
  ASSERT_TRUE(world_.loop.RunUntilTrue(
      [&] { return world_.agent().Snapshot().state == AgentState::kSealing; },
      absl::Minutes(1)));
  world_.files.FailAppends(1);
  ASSERT_TRUE(world_.RunToEnd());
  EXPECT_EQ(world_.aggregator.acknowledged.size(), 1u);
  EXPECT_EQ(world_.trainer.trained[1], 2);
}

TEST_F(AgentTest, SendsNothingThatCannotBeRecorded) {
  OfferTrain(1);
  world_.Start();
  ASSERT_TRUE(world_.loop.RunUntilTrue(
      [&] { return world_.agent().Snapshot().state == AgentState::kSealing; },
      absl::Minutes(1)));
  world_.audit.status = absl::ResourceExhaustedError("disk full");
  world_.loop.RunFor(absl::Minutes(5));
  EXPECT_EQ(world_.aggregator.Count("Submit"), 0);
}

// Heartbeats, reports, stopping.

TEST_F(AgentTest, SendsHeartbeatsFourTimesPerProgressTimeout) {
  world_.trainer.duration = absl::Seconds(100);
  OfferTrain(1);
  RunWell();
  // 100 s of training, 60 s time-out; none once the task is done.
  EXPECT_EQ(world_.aggregator.heartbeats.size(), 6u);
  EXPECT_EQ(world_.aggregator.heartbeats[0].round, RoundId{1});
  EXPECT_FLOAT_EQ(world_.aggregator.heartbeats[0].progress, 0.5f);
}

TEST_F(AgentTest, DropsATaskThatTheAggregatorTakesBack) {
  world_.trainer.duration = absl::Seconds(100);
  world_.aggregator.cancel_tasks = true;
  OfferTrain(1);
  world_.Start();
  ASSERT_TRUE(world_.loop.RunUntilTrue(
      [&] { return world_.trainer.cancelled > 0; }, absl::Minutes(2)));
  world_.aggregator.tasks.clear();
  world_.aggregator.cancel_tasks = false;
  world_.trainer.duration = absl::Seconds(1);
  OfferTrain(2);
  ASSERT_TRUE(world_.RunToEnd());
  ASSERT_EQ(world_.aggregator.acknowledged.size(), 1u);
  EXPECT_EQ(world_.aggregator.acknowledged[0].round, RoundId{2});
  EXPECT_THAT(world_.audit.Names(), Not(Contains("task_failed")));
}

TEST_F(AgentTest, ReportsScalarsOnlyUnderThePolicyKey) {
  OfferEvaluate(1);
  RunWell();
  EXPECT_THAT(world_.aggregator.reports, IsEmpty());

  AgentWorld open;
  open.options.policy.share_site_scalars = true;
  open.trainer.scalars = {{"auc", 0.8}, {"Miller, Anna", 1}};
  open.aggregator.Offer(open.aggregator.MakeTask(1, TaskKind::kEvaluate));
  open.Start();
  ASSERT_TRUE(open.RunToEnd());
  ASSERT_EQ(open.aggregator.reports.size(), 1u);
  EXPECT_THAT(open.aggregator.reports[0].scalars, ElementsAre(Key("auc")));
  EXPECT_EQ(open.audit.Detail("report"), "auc");
}

TEST(AgentAuditTest, SaysWhetherScannersAreCounted) {
  for (const bool share : {false, true}) {
    AgentWorld world;
    world.options.policy.share_devices = share;
    auto plan = ParsePlanYaml(
        "version: 1\nname: test\nrounds: 5\nsites: {quorum: 4}\n"
        "task: {classes: [normal, abnormal]}\n"
        "backbone: {architecture: resnet18, sha256: " +
            world.aggregator.plan.backbone.Hex() +
            "}\nstrategy: {kind: linear_probe}\n"
            "shift: {every: 1, devices: true}\n",
        "plan.yaml");
    ASSERT_TRUE(plan.ok()) << plan.status();
    world.aggregator.plan = *std::move(plan);
    world.aggregator.Sign();
    world.aggregator.Offer(world.aggregator.MakeTask(1, TaskKind::kTrain));
    world.Start();
    ASSERT_TRUE(world.RunToEnd());
    EXPECT_EQ(world.audit.Detail("join"),
              share ? "plan test; its sketches count this site's scanners"
                    : "plan test; this site's scanners are not told");
  }
}

TEST_F(AgentTest, StopEndsTheTrainerAndSaysWhenNothingIsLeft) {
  world_.trainer.duration = absl::Seconds(100);
  OfferTrain(1);
  world_.Start();
  ASSERT_TRUE(world_.loop.RunUntilTrue(
      [&] { return world_.agent().Snapshot().state == AgentState::kTraining; },
      absl::Minutes(5)));
  bool stopped = false;
  world_.agent().Stop([&] { stopped = true; });
  world_.loop.RunFor(absl::Minutes(10));
  EXPECT_TRUE(stopped);
  EXPECT_GE(world_.trainer.cancelled, 1);
  EXPECT_EQ(world_.agent().Snapshot().state, AgentState::kStopped);
  EXPECT_FALSE(world_.ended.has_value());
  EXPECT_EQ(world_.aggregator.Count("Submit"), 0);
}

TEST_F(AgentTest, StopAwaitsASealThatIsUnderWayAndItsUpdateIsKept) {
  OfferTrain(1);
  world_.Start();
  ASSERT_TRUE(world_.loop.RunUntilTrue(
      [&] { return world_.agent().Snapshot().state == AgentState::kSealing; },
      absl::Minutes(1)));
  bool stopped = false;
  world_.agent().Stop([&] { stopped = true; });
  EXPECT_FALSE(stopped);
  world_.loop.RunFor(absl::Minutes(1));
  EXPECT_TRUE(stopped);
  world_.Kill();
  RunWell();
  EXPECT_EQ(world_.trainer.trained[1], 1);
}

}  // namespace
}  // namespace fedgraft::testing
