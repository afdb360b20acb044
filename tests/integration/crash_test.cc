#include <algorithm>
#include <csignal>
#include <filesystem>
#include <map>
#include <random>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/federation.h"

// kill -9 of every kind of process at every step of a round. The run goes on,
// nothing acknowledged is asked for again, and the final model is the one that
// an undisturbed run gives.

namespace fedgraft::testing {
namespace {

using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr int kSites = 3;

PlanText SmallPlan() {
  PlanText plan;
  plan.rounds = 4;
  plan.quorum = kSites;
  plan.evaluation = "every: 2";
  return plan;
}

// About 1.4 MB a model: too large to travel inside tasks and log.
PlanText LargePlan() {
  PlanText plan = SmallPlan();
  plan.rounds = 2;
  plan.strategy =
      "kind: partial, unfreeze: [\"features.12.*\", "
      "\"features.11.expand3x3.*\"]";
  return plan;
}

// A head solved on feature vectors, statistics gathered there, then training.
PlanText SolvingPlan() {
  PlanText plan = SmallPlan();
  plan.rounds = 2;
  plan.architecture = "identity";
  plan.strategy = "kind: feature_extraction, hidden_dim: 3";
  plan.more =
      "solver: {kind: newton, lambdas: [10, 1]}\n"
      "local: {loss: {class_weights: federated}, "
      "regularizers: {ewc_lambda: 1, ewc_records: federated}}\n";
  return plan;
}

// The final model of an undisturbed run.
std::string UndisturbedModel(const PlanText& plan) {
  static auto& known = *new std::map<std::string, std::string>();
  std::string& model = known[plan.ToYaml("")];
  if (model.empty()) {
    Federation federation(kSites);
    EXPECT_TRUE(federation.StartAggregator());
    federation.StartSites();
    EXPECT_EQ(federation.RunStart(plan).exit_code, 0);
    EXPECT_TRUE(federation.WaitFinished()) << federation.Logs();
    model = federation.Model();
  }
  return model;
}

void Restart(Federation& federation) {
  federation.KillAggregator();
  ASSERT_TRUE(federation.StartAggregator()) << federation.AggregatorLog();
}

// Runs to the end and compares with the undisturbed run.
void ExpectUndisturbedEnd(Federation& federation, const PlanText& plan) {
  ASSERT_TRUE(federation.WaitFinished(absl::Seconds(30))) << federation.Logs();
  const std::string model = federation.Model();
  EXPECT_EQ(model, UndisturbedModel(plan));
  for (int i = 0; i < federation.num_sites(); ++i) {
    EXPECT_EQ(federation.FinalModelOf(i), model) << federation.SiteLog(i);
  }
}

void ExpectTrainedOnceARound(const Federation& federation,
                             const PlanText& plan) {
  for (int i = 0; i < federation.num_sites(); ++i) {
    EXPECT_EQ(federation.CountTrainTasks(i), plan.rounds)
        << federation.SiteLog(i);
  }
}

std::set<std::string> FilesIn(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.is_regular_file()) names.insert(entry.path().filename());
  }
  return names;
}

int CountInState(const pb::StatusReply& status, const std::string& state) {
  int count = 0;
  for (const auto& site : status.sites()) count += site.state() == state;
  return count;
}

// --- the aggregator --------------------------------------------------------

TEST(AggregatorCrashTest, AfterTheFirstSitesJoined) {
  const PlanText plan = SmallPlan();
  Federation federation(kSites);
  ASSERT_TRUE(federation.StartAggregator());
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  federation.StartSite(0);
  federation.StartSite(1);
  ASSERT_TRUE(WaitUntil([&] {
    return absl::StrContains(federation.AggregatorLog(), "site-0 joined") &&
           absl::StrContains(federation.AggregatorLog(), "site-1 joined");
  })) << federation.Logs();
  Restart(federation);
  federation.StartSite(2);
  ExpectUndisturbedEnd(federation, plan);
  ExpectTrainedOnceARound(federation, plan);
}

TEST(AggregatorCrashTest, MidUploadTheUploadGoesOnWhereItStopped) {
  const PlanText plan = LargePlan();
  Federation federation(kSites);
  federation.ControlTrainer(2, {{"hold", "1"}});
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(federation.WaitFor([](const auto& status) {
    return CountInState(status, "contributed") == kSites - 1;
  })) << federation.Logs();
  const int64_t before = federation.proxy().bytes_up();
  constexpr int64_t kPart = 500'000;
  federation.proxy().HoldAfter(kPart);
  federation.ControlTrainer(2, {});
  ASSERT_TRUE(WaitUntil([&] {
    return federation.proxy().bytes_up() >= before + kPart;
  })) << federation.Logs();
  // What passed the proxy reaches the spool.
  ASSERT_TRUE(federation.WaitFor([](const auto& status) {
    return status.sites(2).state() == "uploading";
  })) << federation.Logs();
  federation.KillAggregator();
  federation.proxy().Release();
  ASSERT_TRUE(federation.StartAggregator());
  ExpectUndisturbedEnd(federation, plan);
  ExpectTrainedOnceARound(federation, plan);
  const auto uploads = federation.UploadedBytes(2, "train");
  ASSERT_THAT(uploads, SizeIs(Ge(3)));  // two rounds, one of them in two parts
  EXPECT_LT(uploads[1], uploads[0]) << "the upload began anew";
}

TEST(AggregatorCrashTest, AfterAcknowledgingFewerThanTheQuorum) {
  const PlanText plan = SmallPlan();
  Federation federation(kSites);
  federation.ControlTrainer(2, {{"hold", "1"}});
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(federation.WaitFor([](const auto& status) {
    return CountInState(status, "contributed") == kSites - 1;
  })) << federation.Logs();
  Restart(federation);
  EXPECT_EQ(CountInState(federation.Status(), "contributed"), kSites - 1);
  federation.ControlTrainer(2, {});
  ExpectUndisturbedEnd(federation, plan);
  ExpectTrainedOnceARound(federation, plan);
}

TEST(AggregatorCrashTest, AfterTheQuorumBeforeThePublication) {
  const PlanText plan = SmallPlan();
  Federation federation(kSites);
  federation.ControlTrainer(2, {{"hold", "1"}});
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(federation.WaitFor([](const auto& status) {
    return CountInState(status, "contributed") == kSites - 1;
  })) << federation.Logs();
  // A paused run takes what is under way and publishes nothing.
  const std::string run = federation.Status().run_id();
  const std::string config = federation.AggregatorConfig();
  ASSERT_EQ(federation.Aggregator({"run", "pause", "--config", config, run})
                .exit_code,
            0);
  federation.ControlTrainer(2, {});
  ASSERT_TRUE(federation.WaitFor([](const auto& status) {
    return CountInState(status, "contributed") == kSites;
  })) << federation.Logs();
  ASSERT_EQ(federation.Status(true).history_size(), 0);
  Restart(federation);
  EXPECT_EQ(federation.Status().state(), "paused");
  EXPECT_EQ(CountInState(federation.Status(), "contributed"), kSites);
  ASSERT_EQ(federation.Aggregator({"run", "resume", "--config", config, run})
                .exit_code,
            0);
  ExpectUndisturbedEnd(federation, plan);
  ExpectTrainedOnceARound(federation, plan);
}

TEST(AggregatorCrashTest, DuringTheReduction) {
  PlanText plan = SmallPlan();
  plan.rounds = 15;
  plan.strategy = "kind: full";
  plan.evaluation = "every: -1";
  Federation federation(kSites);
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  // The new model's file is opened in blobs/partial, written, and given its
  // name by a rename: a kill without a new name came between.
  const std::string blobs = federation.Path("aggregator/blobs");
  int kills = 0;
  bool hit = false;
  for (; kills < 8 && !hit; ++kills) {
    const std::set<std::string> before = FilesIn(blobs);
    FolderWatch watch(blobs + "/partial");
    ASSERT_TRUE(watch.WaitOpened()) << federation.Logs();
    federation.KillAggregator();
    hit = std::ranges::includes(before, FilesIn(blobs));
    ASSERT_TRUE(federation.StartAggregator()) << federation.AggregatorLog();
  }
  std::printf("kill %d fell into a reduction\n", kills);
  EXPECT_TRUE(hit);
  ExpectUndisturbedEnd(federation, plan);
  ExpectTrainedOnceARound(federation, plan);
}

class RandomMomentTest : public ::testing::TestWithParam<int> {};

TEST_P(RandomMomentTest, TheAggregatorIsKilledAgainAndAgain) {
  PlanText plan = SmallPlan();
  plan.rounds = 8;
  Federation federation(kSites);
  for (int i = 0; i < kSites; ++i) {
    federation.ControlTrainer(
        i, {{"delay_ms", "15"}, {"evaluate_delay_ms", "10"}});
  }
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  std::mt19937 random(GetParam());
  for (int kill = 0; kill < 6; ++kill) {
    ASSERT_TRUE(federation.WaitFor([](const auto& status) {
      return status.state() == "finished" ||
             CountInState(status, "training") +
                     CountInState(status, "evaluating") >
                 0;
    })) << federation.Logs();
    absl::SleepFor(absl::Microseconds(random() % 60'000));
    Restart(federation);
  }
  ExpectUndisturbedEnd(federation, plan);
  ExpectTrainedOnceARound(federation, plan);
}

TEST_P(RandomMomentTest, ASiteIsKilledAgainAndAgain) {
  PlanText plan = SmallPlan();
  plan.rounds = 8;
  Federation federation(kSites);
  for (int i = 0; i < kSites; ++i) {
    federation.ControlTrainer(
        i, {{"delay_ms", "15"}, {"evaluate_delay_ms", "10"}});
  }
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  std::mt19937 random(100 + GetParam());
  for (int kill = 0; kill < 8; ++kill) {
    const int site = static_cast<int>(random() % kSites);
    ASSERT_TRUE(federation.WaitFor([&](const auto& status) {
      return status.state() == "finished" ||
             (status.sites_size() == kSites &&
              status.sites(site).state() != "joined");
    })) << federation.Logs();
    absl::SleepFor(absl::Microseconds(random() % 60'000));
    federation.site_process(site)->Kill();
    federation.StartSite(site);
  }
  ExpectUndisturbedEnd(federation, plan);
}

TEST_P(RandomMomentTest, EitherSideIsKilledWhileTheRunSolvesAndGathers) {
  const PlanText plan = SolvingPlan();
  Federation federation(kSites);
  for (int i = 0; i < kSites; ++i) {
    federation.ControlTrainer(i, {{"delay_ms", "15"}});
  }
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  std::mt19937 random(200 + GetParam());
  for (int kill = 0; kill < 6; ++kill) {
    ASSERT_TRUE(federation.WaitFor([](const auto& status) {
      return status.state() == "finished" ||
             CountInState(status, "solving") +
                     CountInState(status, "gathering") +
                     CountInState(status, "training") >
                 0;
    })) << federation.Logs();
    absl::SleepFor(absl::Microseconds(random() % 60'000));
    if (kill % 2 == 0) {
      Restart(federation);
    } else {
      const int site = static_cast<int>(random() % kSites);
      federation.site_process(site)->Kill();
      federation.StartSite(site);
    }
  }
  ExpectUndisturbedEnd(federation, plan);
  const auto status = federation.Status(true);
  ASSERT_GT(status.history_size(), plan.rounds + 1);
  const auto& gathered = status.history(status.history_size() - 3);
  EXPECT_EQ(gathered.metrics().count("gathered_records"), 1u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomMomentTest, ::testing::Values(1, 2));

// --- a site ----------------------------------------------------------------

TEST(SiteCrashTest, WhileItTrainsItTrainsThatRoundAgain) {
  const PlanText plan = SmallPlan();
  Federation federation(kSites);
  federation.ControlTrainer(1, {{"hold", "1"}});
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(WaitUntil([&] { return federation.CountTrainTasks(1) == 1; }))
      << federation.Logs();
  federation.site_process(1)->Kill();
  federation.ControlTrainer(1, {});
  federation.StartSite(1);
  ExpectUndisturbedEnd(federation, plan);
  EXPECT_EQ(federation.CountTrainTasks(0), plan.rounds);
  EXPECT_EQ(federation.CountTrainTasks(1), plan.rounds + 1);
}

TEST(SiteCrashTest, DuringTheUploadItKeepsTheSealedUpdate) {
  const PlanText plan = LargePlan();
  Federation federation(kSites);
  federation.ControlTrainer(1, {{"hold", "1"}});
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(federation.WaitFor([](const auto& status) {
    return CountInState(status, "contributed") == kSites - 1;
  })) << federation.Logs();
  const int64_t before = federation.proxy().bytes_up();
  constexpr int64_t kPart = 300'000;
  federation.proxy().HoldAfter(kPart);
  federation.ControlTrainer(1, {});
  ASSERT_TRUE(WaitUntil([&] {
    return federation.proxy().bytes_up() >= before + kPart;
  })) << federation.Logs();
  federation.site_process(1)->Kill();
  federation.proxy().Release();
  federation.StartSite(1);
  ExpectUndisturbedEnd(federation, plan);
  ExpectTrainedOnceARound(federation, plan);
}

// Nothing passes to the aggregator, so the site stands with a sealed update.
TEST(SiteCrashTest, AfterSealingItDoesNotTrainAgain) {
  const PlanText plan = SmallPlan();
  Federation federation(kSites);
  federation.ControlTrainer(1, {{"hold", "1"}});
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(federation.WaitFor([&](const auto& status) {
    // The held site has its task, too: none would reach it from now on.
    return CountInState(status, "contributed") == kSites - 1 &&
           federation.CountTrainTasks(1) == 1;
  })) << federation.Logs();
  federation.proxy().HoldAfter(0);
  federation.ControlTrainer(1, {});
  ASSERT_TRUE(WaitUntil([&] {
    return !federation.UploadedBytes(1, "train").empty();
  })) << federation.Logs();
  federation.site_process(1)->Kill();
  federation.proxy().Release();
  federation.StartSite(1);
  ExpectUndisturbedEnd(federation, plan);
  ExpectTrainedOnceARound(federation, plan);
}

TEST(SiteCrashTest, AfterTheRunEndedItFetchesTheFinalModel) {
  const PlanText plan = SmallPlan();
  Federation federation(kSites);
  ASSERT_TRUE(federation.StartAggregator());
  federation.ControlTrainer(1, {{"evaluate_delay_ms", "500"}});
  federation.StartSites();
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  // The last evaluation needs no quorum; its end finds the site dead.
  ASSERT_TRUE(federation.WaitFor([&](const auto& status) {
    return static_cast<int>(status.round()) == plan.rounds &&
           CountInState(status, "evaluating") == 1;
  })) << federation.Logs();
  federation.site_process(1)->Kill();
  federation.StartSite(1);
  ASSERT_TRUE(federation.WaitFinished()) << federation.Logs();
  federation.site_process(0)->Kill();
  federation.StartSite(0);
  ExpectUndisturbedEnd(federation, plan);
}

// --- a trainer -------------------------------------------------------------

void ExpectOneTrainTaskMore(const Federation& federation, int site,
                            const PlanText& plan) {
  for (int i = 0; i < kSites; ++i) {
    EXPECT_EQ(federation.CountTrainTasks(i), plan.rounds + (i == site))
        << federation.SiteLog(i);
  }
}

TEST(TrainerCrashTest, AnAbortCostsOneRetry) {
  const PlanText plan = SmallPlan();
  Federation federation(kSites);
  federation.ControlTrainer(0, {{"crash_round", "2"}});
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ExpectUndisturbedEnd(federation, plan);
  ExpectOneTrainTaskMore(federation, 0, plan);
}

TEST(TrainerCrashTest, AKillCostsOneRetry) {
  const PlanText plan = SmallPlan();
  Federation federation(kSites);
  federation.ControlTrainer(2, {{"hold", "1"}});
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(WaitUntil([&] { return federation.CountTrainTasks(2) == 1; }))
      << federation.Logs();
  const pid_t trainer = federation.TrainerCalls(2).back().pid;
  ASSERT_EQ(kill(trainer, SIGKILL), 0);
  federation.ControlTrainer(2, {});
  ExpectUndisturbedEnd(federation, plan);
  ExpectOneTrainTaskMore(federation, 2, plan);
}

TEST(TrainerCrashTest, AHangIsNoticedAndCostsOneRetry) {
  const PlanText plan = SmallPlan();
  Federation federation(kSites);
  federation.ConfigureSite(
      1, {absl::StrCat("trainer: {progress_timeout: 1s, binary: ",
                       BuiltProgram("fedgraft-null-trainer"), "}")});
  federation.ControlTrainer(1, {{"hang_round", "2"}});
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ExpectUndisturbedEnd(federation, plan);
  ExpectOneTrainTaskMore(federation, 1, plan);
}

}  // namespace
}  // namespace fedgraft::testing
