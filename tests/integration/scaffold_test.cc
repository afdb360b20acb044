#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/model/control_variates.h"
#include "common/model/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/federation.h"

// Rule scaffold with real trainers, whose control variates outlive kills.

namespace fedgraft::testing {
namespace {

constexpr int kSites = 3;
constexpr int kRounds = 24;
constexpr char kMasks[] = "privacy: {secure_aggregation: {mode: \"on\"}}\n";

// Four features; every site has mostly one of the two classes, and features of
// its own.
void WriteTable(const std::string& path, int site) {
  std::ofstream file(path);
  file << "label,split,f0,f1,f2,f3\n";
  for (int i = 0; i < 40; ++i) {
    const int label = i % 5 == 0 ? 1 - site % 2 : site % 2;
    file << "class" << label << ","
         << (i % 8 == 1   ? "val"
             : i % 8 == 2 ? "test"
                          : "train");
    for (int k = 0; k < 4; ++k) {
      file << "," << std::sin(0.7 * i + 1.9 * k + site) + 0.5 * label * (k < 2);
    }
    file << "\n";
  }
}

class ScaffoldRunTest : public ::testing::Test {
 protected:
  void Start(Federation& federation) {
    for (int i = 0; i < kSites; ++i) {
      WriteTable(federation.SitePath(i, "table.csv"), i);
      federation.ConfigureSite(
          i, {absl::StrCat(
                  "trainer: {binary: ", BuiltProgram("fedgraft-trainer"), "}"),
              "compute: {device: cpu, threads: 1}",
              "data: {kind: table, path: table.csv, split_column: split, "
              "table: {numeric: [f0, f1, f2, f3]}}"});
    }
    ASSERT_TRUE(federation.StartAggregator());
    federation.StartSites();
  }
  PlanText ScaffoldPlan() const {
    PlanText plan;
    plan.rounds = kRounds;
    plan.architecture = "identity";
    plan.update = "range: 4, weighting: uniform";
    plan.more =
        "rule: {kind: scaffold}\n"
        "local: {epochs: 3, batch_size: 8, "
        "optimizer: {learning_rate: 0.1, momentum: 0}}\n";
    return plan;
  }
  void WaitForRound(Federation& federation, uint32_t round) {
    ASSERT_TRUE(federation.WaitFor(
        [round](const auto& status) { return status.round() >= round; },
        absl::Seconds(60)))
        << federation.Logs();
    ASSERT_NE(federation.Status().state(), "finished");
  }
  // The model of a run that nothing happens to.
  std::string Undisturbed() {
    Federation federation(kSites);
    Start(federation);
    const CommandResult start = federation.RunStart(ScaffoldPlan());
    EXPECT_EQ(start.exit_code, 0) << start.err;
    EXPECT_TRUE(federation.WaitFinished(absl::Seconds(60)))
        << federation.Logs();
    return federation.Model();
  }
};

std::vector<float> Floats(const std::string& path, const std::string& name) {
  const auto file = SafetensorsFile::Open(path);
  EXPECT_TRUE(file.ok()) << file.status();
  const auto values = file->ReadFloats(name);
  EXPECT_TRUE(values.ok()) << values.status();
  return *values;
}

TEST_F(ScaffoldRunTest,
       MasksAndKillsAnywhereLeaveModelAndControlVariatesAlone) {
  Federation federation(kSites);
  federation.PinRosters();
  Start(federation);
  PlanText plan = ScaffoldPlan();
  plan.more += kMasks;
  const CommandResult start = federation.RunStart(plan);
  ASSERT_EQ(start.exit_code, 0) << start.err;
  WaitForRound(federation, 3);
  federation.KillAggregator();
  ASSERT_TRUE(federation.StartAggregator());
  for (int i = 0; i < kSites; ++i) {
    WaitForRound(federation, 5 + 2 * static_cast<uint32_t>(i));
    federation.site_process(i)->Kill();
    federation.StartSite(i);
  }
  WaitForRound(federation, 12);
  federation.KillAggregator();
  federation.site_process(1)->Kill();
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSite(1);
  ASSERT_TRUE(federation.WaitFinished(absl::Seconds(120))) << federation.Logs();
  EXPECT_EQ(federation.Model(), Undisturbed()) << federation.Logs();

  // c is the mean of what the sites keep, and not nothing.
  const std::string name = "head.weight";
  ASSERT_EQ(federation.FinalModelOf(0), federation.Model());
  const std::string run =
      absl::StrCat("state/runs/", federation.Status().run_id());
  const std::vector<float> server =
      Floats(federation.SitePath(0, run + "/final.safetensors"),
             std::string(kControlVariatePrefix) + name);
  std::vector<double> mean(server.size(), 0);
  for (int i = 0; i < kSites; ++i) {
    const std::vector<float> own = Floats(
        federation.SitePath(i, absl::StrCat(run, "/trainer/control/000000",
                                            kRounds, ".safetensors")),
        name);
    for (size_t k = 0; k < mean.size(); ++k) mean[k] += own[k] / kSites;
  }
  double largest = 0;
  for (size_t k = 0; k < mean.size(); ++k) {
    EXPECT_NEAR(server[k], mean[k], 1e-6) << k;
    largest = std::max(largest, std::abs(mean[k]));
  }
  EXPECT_GT(largest, 1e-3);

  // Nobody who takes the model away is given them.
  const std::string exported = federation.Path("exported.safetensors");
  const CommandResult exporting = federation.Aggregator(
      {"export", "--config", federation.AggregatorConfig(), "--out", exported});
  ASSERT_EQ(exporting.exit_code, 0) << exporting.err;
  const auto file = SafetensorsFile::Open(exported);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->tensors().size(), 2u);
  EXPECT_TRUE(file->tensors().contains("head.weight"));
}

}  // namespace
}  // namespace fedgraft::testing
