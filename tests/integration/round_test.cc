#include <csignal>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/model/evaluation_layout.h"
#include "common/model/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/integration/federation.h"

// Whole runs, undisturbed: one aggregator and several sites as processes.

namespace fedgraft::testing {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::SizeIs;

nlohmann::json Report(const Federation& federation) {
  const CommandResult report = federation.Aggregator(
      {"report", "--config", federation.AggregatorConfig(), "--json"});
  EXPECT_EQ(report.exit_code, 0) << report.err;
  return nlohmann::json::parse(report.out);
}

TEST(WholeRunTest, ThreeSitesEndWithTheSameModelAndExitCleanly) {
  Federation federation(3);
  ASSERT_TRUE(federation.StartAggregator()) << federation.Logs();
  for (int i = 0; i < 3; ++i) {
    federation.StartSite(i, {"--exit-when-finished"});
  }
  PlanText plan;
  plan.evaluation = "every: 2, final_split: test";
  const CommandResult start = federation.RunStart(plan);
  ASSERT_EQ(start.exit_code, 0) << start.err;
  const CommandResult watch = federation.Aggregator(
      {"watch", "--config", federation.AggregatorConfig(), "--until-finished"});
  EXPECT_EQ(watch.exit_code, 0) << watch.err << federation.Logs();

  const std::string model = federation.Model();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(federation.site_process(i)->WaitExit(absl::Seconds(10)), 0)
        << federation.SiteLog(i);
    EXPECT_EQ(federation.FinalModelOf(i), model);
    EXPECT_EQ(federation.CountTrainTasks(i), 3);
    const auto summary = nlohmann::json::parse(
        ReadFileOrEmpty(federation.SitePath(i, "state/summary.json")));
    EXPECT_EQ(summary["contributions"], 3);
    EXPECT_GT(summary["peak_rss_bytes"], 0);
  }
  const nlohmann::json report = Report(federation);
  EXPECT_EQ(report["state"], "finished");
  EXPECT_EQ(report["model_sha256"], model);
  EXPECT_THAT(report["history"], SizeIs(3));
  for (const auto& round : report["history"]) {
    EXPECT_EQ(round["sites"], nlohmann::json({"site-0", "site-1", "site-2"}));
  }
  // Eight test images at each site; evaluated at the end.
  EXPECT_EQ(report["pooled"]["n"], 24);
}

TEST(WholeRunTest, ExportWritesBackboneAndHeadAndItsCard) {
  Federation federation(2);
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  PlanText plan;
  plan.quorum = 2;
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(federation.WaitFinished()) << federation.Logs();

  const std::string out = federation.Path("final.safetensors");
  const CommandResult exported = federation.Aggregator(
      {"export", "--config", federation.AggregatorConfig(), "--backbone",
       federation.Backbone(), "--out", out});
  ASSERT_EQ(exported.exit_code, 0) << exported.err;
  const auto file = SafetensorsFile::Open(out);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(file->tensors().contains("features.0.weight"));
  EXPECT_EQ(file->tensors().at("classifier.1.weight").shape,
            (std::vector<int64_t>{2, 512, 1, 1}));
  const auto card = nlohmann::json::parse(ReadFileOrEmpty(out + ".json"));
  EXPECT_EQ(card["rounds"], 3) << card.dump();
}

TEST(WholeRunTest, FeatureVectorsNeedNoBackboneAnywhere) {
  Federation federation(2);
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  PlanText plan;
  plan.quorum = 2;
  plan.architecture = "identity";
  const CommandResult start = federation.RunStart(plan);
  ASSERT_EQ(start.exit_code, 0) << start.err;
  ASSERT_TRUE(federation.WaitFinished()) << federation.Logs();
  EXPECT_EQ(federation.FinalModelOf(1), federation.Model());
  EXPECT_FALSE(
      std::filesystem::exists(federation.SitePath(0, "state/backbones")));

  const std::string out = federation.Path("head.safetensors");
  std::vector<std::string> command = {
      "export", "--config", federation.AggregatorConfig(), "--out", out};
  const CommandResult exported = federation.Aggregator(command);
  ASSERT_EQ(exported.exit_code, 0) << exported.err;
  const auto file = SafetensorsFile::Open(out);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(file->tensors(), SizeIs(2));
  EXPECT_EQ(file->tensors().at("head.weight").shape,
            (std::vector<int64_t>{2, 4}));
  const auto card = nlohmann::json::parse(ReadFileOrEmpty(out + ".json"));
  EXPECT_EQ(card["architecture"], "identity");
  EXPECT_EQ(card["feature_dim"], 4);
  EXPECT_FALSE(card.contains("backbone_sha256"));

  command.insert(command.end(), {"--backbone", federation.Backbone()});
  const CommandResult refused = federation.Aggregator(command);
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.err, HasSubstr("expected no backbone file"));
}

TEST(WholeRunTest, ABackboneThatThePlanNeedsMustBeGiven) {
  Federation federation(1);
  ASSERT_TRUE(federation.StartAggregator());
  PlanText plan;
  std::ofstream(federation.Path("p.yaml")) << plan.ToYaml(std::string(64, 'a'));
  const CommandResult start = federation.Aggregator(
      {"run", "start", "--config", federation.AggregatorConfig(),
       federation.Path("p.yaml")});
  EXPECT_NE(start.exit_code, 0);
  EXPECT_THAT(start.err, HasSubstr("expected --backbone FILE, the "
                                   "squeezenet1_1 of the plan"));
}

TEST(WholeRunTest, AuditLogsOfBothSidesVerifyAndAChangedOneDoesNot) {
  Federation federation(2);
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  PlanText plan;
  plan.quorum = 2;
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(federation.WaitFinished()) << federation.Logs();
  ASSERT_FALSE(federation.FinalModelOf(0).empty());

  const std::string log = federation.SitePath(0, "state/audit.log");
  const CommandResult intact = federation.Client({"audit", "verify", log});
  EXPECT_EQ(intact.exit_code, 0) << intact.err;
  std::string text = ReadFileOrEmpty(log);
  const size_t at = text.find("train");
  ASSERT_NE(at, std::string::npos);
  text[at] = 'b';
  std::ofstream(log) << text;
  const CommandResult changed = federation.Client({"audit", "verify", log});
  EXPECT_EQ(changed.exit_code, 6) << changed.out << changed.err;
}

TEST(WholeRunTest, ASecondRunFollowsWithoutARestart) {
  Federation federation(2);
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  PlanText plan;
  plan.quorum = 2;
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(federation.WaitFinished()) << federation.Logs();
  const std::string first_run = federation.Status().run_id();
  const std::string first_model = federation.FinalModelOf(0);
  plan.more = "# another\n";
  plan.rounds = 2;
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(federation.WaitFor([&](const auto& status) {
    return status.run_id() != first_run && status.state() == "finished";
  })) << federation.Logs();
  const std::string model = federation.Model();
  EXPECT_NE(model, first_model);
  EXPECT_EQ(federation.FinalModelOf(0), model);
  EXPECT_EQ(federation.FinalModelOf(1), model);
}

TEST(WholeRunTest, ARoundClosesAtItsDeadlineWithTheQuorum) {
  Federation federation(3);
  ASSERT_TRUE(federation.StartAggregator());
  federation.ControlTrainer(2, {{"hold", "1"}});
  federation.StartSites();
  PlanText plan;
  plan.rounds = 2;
  plan.quorum = 2;
  plan.expected = 3;
  plan.deadlines = "round: 500ms, progress: 30s, enrol: 1h";
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(federation.WaitFinished()) << federation.Logs();
  const pb::StatusReply status = federation.Status(/*history=*/true);
  ASSERT_EQ(status.history_size(), 2);
  for (const auto& round : status.history()) {
    EXPECT_EQ(round.sites_size(), 2);
  }
}

TEST(WholeRunTest, APausedRunWaitsAndAStoppedOneEnds) {
  Federation federation(2);
  ASSERT_TRUE(federation.StartAggregator());
  for (int i = 0; i < 2; ++i) {
    federation.ControlTrainer(i, {{"delay_ms", "20"}});
    federation.StartSite(i, {"--exit-when-finished"});
  }
  PlanText plan;
  plan.quorum = 2;
  plan.rounds = 1000;
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(federation.WaitFor([](const auto& status) {
    return status.round() >= 2;
  })) << federation.Logs();
  const std::string run = federation.Status().run_id();
  const std::string config = federation.AggregatorConfig();
  ASSERT_EQ(federation.Aggregator({"run", "pause", "--config", config, run})
                .exit_code,
            0);
  EXPECT_EQ(federation.Status().state(), "paused");
  ASSERT_EQ(federation.Aggregator({"run", "resume", "--config", config, run})
                .exit_code,
            0);
  const uint32_t round = federation.Status().round();
  EXPECT_TRUE(federation.WaitFor([&](const auto& status) {
    return status.round() > round + 1;
  })) << federation.Logs();
  ASSERT_EQ(federation
                .Aggregator({"run", "stop", "--config", config, run, "--reason",
                             "enough"})
                .exit_code,
            0);
  EXPECT_EQ(federation.Status().state(), "stopped");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(federation.site_process(i)->WaitExit(absl::Seconds(10)), 0)
        << federation.SiteLog(i);
  }
}

struct SizeCase {
  const char* name;
  const char* strategy;
};
class ModelBytesTest : public ::testing::TestWithParam<SizeCase> {};

// DESIGN's bound on what one message may cost in model bytes.
TEST_P(ModelBytesTest, NoMessageIsMuchLargerThanTheTrainableSet) {
  constexpr int kRounds = 3;
  Federation federation(2);
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  PlanText plan;
  plan.quorum = 2;
  plan.rounds = kRounds;
  plan.strategy = GetParam().strategy;
  plan.evaluation = "every: 1";
  const CommandResult start = federation.RunStart(plan);
  ASSERT_EQ(start.exit_code, 0) << start.err;
  ASSERT_TRUE(federation.WaitFinished()) << federation.Logs();
  ASSERT_FALSE(federation.FinalModelOf(0).empty());
  ASSERT_FALSE(federation.FinalModelOf(1).empty());

  const pb::StatusReply status = federation.Status(true);
  const uint64_t encoded = std::filesystem::file_size(federation.SitePath(
      0, absl::StrCat("state/runs/", status.run_id(), "/final.safetensors")));
  const uint64_t backbone = std::filesystem::file_size(federation.Backbone());
  const auto most = static_cast<uint64_t>(1.02 * encoded) + 2048;
  const EvaluationLayout sums(2);
  for (int i = 0; i < 2; ++i) {
    const auto trained = federation.UploadedBytes(i, "train");
    EXPECT_THAT(trained, SizeIs(kRounds));
    EXPECT_THAT(trained, Each(::testing::Le(most)));
    // Metrics and histograms only, 8 bytes a number, however large the model.
    EXPECT_THAT(federation.UploadedBytes(i, "evaluate"),
                Each(::testing::Le(sums.Count() * 8 + 2048)));
    // Down: backbone and initial model once, then at most one model a task,
    // and the final one.
    EXPECT_LE(status.sites(i).bytes_sent(),
              backbone + (2 + 2 * kRounds) * most);
    std::printf(
        "%s: encoded trainable set %lu B, train message %lu B, sent "
        "to the site %lu B (backbone %lu B)\n",
        GetParam().name, static_cast<unsigned long>(encoded),
        static_cast<unsigned long>(trained[0]),
        static_cast<unsigned long>(status.sites(i).bytes_sent()),
        static_cast<unsigned long>(backbone));
  }
  for (const auto& round : status.history()) {
    EXPECT_LE(round.bytes_up(), 2 * (most + sums.Count() * 8 + 2048));
    // The first round's also counts what the run began with.
    if (round.round() == 1) continue;
    EXPECT_LE(round.bytes_down(), 2 * 2 * most);  // sites and tasks
  }
}

INSTANTIATE_TEST_SUITE_P(
    Sizes, ModelBytesTest,
    ::testing::Values(SizeCase{"Tiny", "kind: linear_probe"},
                      SizeCase{"AboveOneMebibyte",
                               "kind: partial, unfreeze: [\"features.12.*\", "
                               "\"features.11.expand3x3.*\"]"}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace fedgraft::testing
