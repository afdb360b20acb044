#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/federation.h"

// Mistakes that people and machines make: what is said, and that nothing is
// lost by them.

namespace fedgraft::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Exit codes; see common/base/exit_code.h.
constexpr int kWrongInput = 2;
constexpr int kWrongState = 3;
constexpr int kUnreachable = 4;

TEST(WrongConfigTest, ATypoIsNamedWithFileLineAndKey) {
  Federation federation(1);
  federation.ConfigureAggregator({"lissten: 127.0.0.1:0"});
  const CommandResult serve = federation.Aggregator(
      {"serve", "--config", federation.AggregatorConfig()});
  EXPECT_EQ(serve.exit_code, kWrongInput);
  EXPECT_THAT(serve.err,
              AllOf(HasSubstr("aggregator.yaml:7"), HasSubstr("lissten")));
  federation.ConfigureSite(0, {"policy: {rounds_max: many}"});
  const CommandResult run =
      federation.Client({"run", "--config", federation.SiteConfig(0)});
  EXPECT_EQ(run.exit_code, kWrongInput);
  EXPECT_THAT(run.err,
              AllOf(HasSubstr("client.yaml:6"), HasSubstr("policy.rounds_max"),
                    HasSubstr("many")));
  const CommandResult absent = federation.Aggregator(
      {"serve", "--config", federation.Path("absent.yaml")});
  EXPECT_EQ(absent.exit_code, kWrongState);
  EXPECT_THAT(absent.err, HasSubstr("absent.yaml"));
}

TEST(WrongConfigTest, APortInUseIsNamed) {
  Federation first(0), second(0);
  ASSERT_TRUE(first.StartAggregator());
  second.ConfigureAggregator(
      {absl::StrCat("listen: 127.0.0.1:", first.SitePort())});
  const CommandResult serve =
      second.Aggregator({"serve", "--config", second.AggregatorConfig()});
  EXPECT_EQ(serve.exit_code, kUnreachable);
  EXPECT_THAT(serve.err,
              AllOf(HasSubstr(absl::StrCat("127.0.0.1:", first.SitePort())),
                    HasSubstr("in use")));
}

TEST(WrongConfigTest, ASecondAggregatorOrClientOnOneFolderIsRefused) {
  Federation federation(1);
  ASSERT_TRUE(federation.StartAggregator());
  const CommandResult serve = federation.Aggregator(
      {"serve", "--config", federation.AggregatorConfig()});
  EXPECT_EQ(serve.exit_code, kWrongState) << serve.err;
  EXPECT_THAT(serve.err, HasSubstr(federation.Path("aggregator")));
  federation.StartSite(0);
  ASSERT_TRUE(federation.WaitFor([](const auto& status) {
    return status.sites_size() == 1;
  })) << federation.Logs();
  const CommandResult run =
      federation.Client({"run", "--config", federation.SiteConfig(0)});
  EXPECT_EQ(run.exit_code, kWrongState) << run.err;
  EXPECT_THAT(run.err, HasSubstr(federation.SitePath(0, "state")));
  // The first ones are well.
  EXPECT_TRUE(federation.aggregator()->Running());
  EXPECT_TRUE(federation.site_process(0)->Running());
}

TEST(WrongConfigTest, AWrappingKeyBesideTheStateIsRefused) {
  Federation federation(0);
  std::filesystem::create_directories(federation.Path("aggregator"));
  std::filesystem::copy_file(federation.Path("key"),
                             federation.Path("aggregator/key"));
  federation.ConfigureAggregator({"wrapping_key_file: aggregator/key"});
  const CommandResult serve = federation.Aggregator(
      {"serve", "--config", federation.AggregatorConfig()});
  EXPECT_EQ(serve.exit_code, kWrongInput);
  EXPECT_THAT(serve.err,
              AllOf(HasSubstr("wrapping_key_file"), HasSubstr("state_dir")));
}

TEST(WrongPlanTest, UnknownKeyAndWrongBackboneAreNamedAndNoRunStarts) {
  Federation federation(0);
  ASSERT_TRUE(federation.StartAggregator());
  PlanText typo;
  typo.more = "roundz: 3";
  const CommandResult unknown = federation.RunStart(typo);
  EXPECT_EQ(unknown.exit_code, kWrongInput);
  EXPECT_THAT(unknown.err, AllOf(HasSubstr("plan.yaml:"), HasSubstr("roundz")));
  const CommandResult checked =
      federation.Aggregator({"plan", "check", federation.Path("plan.yaml")});
  EXPECT_EQ(checked.exit_code, kWrongInput);

  PlanText foreign;
  foreign.backbone_sha256 = std::string(64, 'a');
  const CommandResult start = federation.RunStart(foreign);
  EXPECT_EQ(start.exit_code, kWrongState);
  EXPECT_THAT(start.err,
              AllOf(HasSubstr("SHA-256"), HasSubstr(std::string(64, 'a'))));

  PlanText glob;
  glob.strategy = "kind: partial, unfreeze: [\"layer4.*\"]";
  const CommandResult nothing = federation.RunStart(glob);
  EXPECT_EQ(nothing.exit_code, kWrongInput);
  EXPECT_THAT(nothing.err, HasSubstr("layer4.*"));
  EXPECT_EQ(federation.Status().run_id(), "");
}

TEST(WrongPlanTest, ASecondRunIsRefusedWhileOneIsOpen) {
  Federation federation(0);
  ASSERT_TRUE(federation.StartAggregator());
  ASSERT_EQ(federation.RunStart(PlanText()).exit_code, 0);
  const std::string run = federation.Status().run_id();
  const CommandResult second = federation.RunStart(PlanText());
  EXPECT_EQ(second.exit_code, kWrongState);
  EXPECT_THAT(second.err, HasSubstr(run));
  EXPECT_EQ(federation.Status().run_id(), run);
}

TEST(AbsentAggregatorTest, CommandsSayItAndAClientKeepsTrying) {
  Federation federation(1);
  const CommandResult status = federation.Aggregator(
      {"status", "--config", federation.AggregatorConfig()});
  EXPECT_EQ(status.exit_code, kUnreachable);
  EXPECT_THAT(status.err, HasSubstr("fedgraft-aggregator serve"));
  const CommandResult check =
      federation.Client({"check", "--config", federation.SiteConfig(0)});
  EXPECT_EQ(check.exit_code, kUnreachable) << check.out;

  federation.StartSite(0);
  ASSERT_TRUE(WaitUntil([&] {
    return absl::StrContains(federation.SiteLog(0), "UNAVAILABLE");
  })) << federation.SiteLog(0);
  EXPECT_TRUE(federation.site_process(0)->Running());
  ASSERT_TRUE(federation.StartAggregator());
  EXPECT_TRUE(federation.WaitFor([](const auto& now) {
    return now.sites_size() == 1;
  })) << federation.SiteLog(0);
  federation.site_process(0)->Signal(SIGTERM);
  EXPECT_EQ(federation.site_process(0)->WaitExit(absl::Seconds(5)), 0);
}

TEST(BadUpdateTest, ANonFiniteUpdateStaysAtTheSiteAndTheRoundGoesOn) {
  Federation federation(3);
  federation.ControlTrainer(1, {{"nan_round", "1"}});
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  PlanText plan;
  plan.rounds = 2;
  plan.quorum = 2;
  plan.expected = 3;
  plan.deadlines = "round: 2s, progress: 30s, enrol: 1h";
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(federation.WaitFinished()) << federation.Logs();
  const pb::StatusReply status = federation.Status(true);
  EXPECT_EQ(status.history(0).sites_size(), 2);
  EXPECT_EQ(status.history(1).sites_size(), 3);
  EXPECT_THAT(federation.SiteLog(1), HasSubstr("finite"));
  EXPECT_THAT(ReadFileOrEmpty(federation.SitePath(1, "state/audit.log")),
              HasSubstr("task_failed"));
}

TEST(BadUpdateTest, AHugeUpdateIsCutToTheRangeAndCounted) {
  Federation federation(2);
  federation.ControlTrainer(1, {{"huge_round", "1"}});
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSites();
  PlanText plan;
  plan.rounds = 1;
  plan.quorum = 2;
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(federation.WaitFinished()) << federation.Logs();
  EXPECT_EQ(federation.Status(true).history(0).saturated(), 2u * 512 + 2);
  EXPECT_THAT(federation.SiteLog(1), HasSubstr("exceed the plan's range"));
}

TEST(SitePolicyTest, ARefusedPlanLeavesNoTraceButARecord) {
  Federation federation(2);
  federation.ConfigureSite(1, {"policy: {cohort_min: 2, rounds_max: 2}"});
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSite(0);
  federation.StartSite(1, {"--exit-when-finished"});
  PlanText plan;
  plan.quorum = 2;
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  EXPECT_EQ(federation.site_process(1)->WaitExit(absl::Seconds(10)), 5)
      << federation.SiteLog(1);
  EXPECT_THAT(federation.SiteLog(1), HasSubstr("rounds_max"));
  EXPECT_EQ(federation.TrainerCalls(1).size(), 0u);
  EXPECT_THAT(ReadFileOrEmpty(federation.SitePath(1, "state/audit.log")),
              HasSubstr("refused"));
}

TEST(SitePolicyTest, ARefusedRunIsLoggedOnceHoweverLongItIsOpen) {
  Federation federation(1);
  federation.ConfigureSite(0, {"policy: {cohort_min: 2, rounds_max: 2}"});
  ASSERT_TRUE(federation.StartAggregator());
  federation.StartSite(0);
  PlanText plan;
  plan.quorum = 2;
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  const auto refusals = [&] {
    const std::string log = federation.SiteLog(0);
    size_t count = 0, at = 0;
    while ((at = log.find("rounds_max", at)) != std::string::npos)
      ++count, ++at;
    return count;
  };
  ASSERT_TRUE(WaitUntil([&] { return refusals() > 0; }));
  // The site asks again every half second or so.
  const int64_t before = federation.proxy().bytes_up();
  ASSERT_TRUE(WaitUntil([&] {
    return federation.proxy().bytes_up() > before + 300;
  })) << federation.Logs();
  EXPECT_EQ(refusals(), 1u) << federation.SiteLog(0);
}

// A file system of its own, so that it can be full.
class SmallDisk {
 public:
  SmallDisk(const std::string& path, const char* size) : path_(path) {
    std::filesystem::create_directories(path);
    mounted_ = mount("tmpfs", path.c_str(), "tmpfs", 0,
                     absl::StrCat("size=", size).c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) umount2(path_.c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  void Grow(const char* size) {
    EXPECT_EQ(mount("tmpfs", path_.c_str(), "tmpfs", MS_REMOUNT,
                    absl::StrCat("size=", size).c_str()),
              0);
  }

 private:
  std::string path_;
  bool mounted_ = false;
};

TEST(DiskFullTest, TheAggregatorRefusesTheRunAndStartsItWhenThereIsRoom) {
  Federation federation(2);
  SmallDisk disk(federation.Path("aggregator"), "1m");
  if (!disk.mounted()) GTEST_SKIP() << "may not mount a small tmpfs here";
  ASSERT_TRUE(federation.StartAggregator()) << federation.AggregatorLog();
  PlanText plan;
  plan.quorum = 2;
  const CommandResult full = federation.RunStart(plan);
  EXPECT_NE(full.exit_code, 0);
  EXPECT_THAT(full.err, HasSubstr("No space left"));
  EXPECT_TRUE(federation.aggregator()->Running());
  disk.Grow("16m");
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  federation.StartSites();
  EXPECT_TRUE(federation.WaitFinished()) << federation.Logs();
  federation.KillAggregator();
}

TEST(DiskFullTest, ASiteWithAFullDiskSaysSoAndGoesOnWhenThereIsRoom) {
  Federation federation(2);
  SmallDisk disk(federation.SitePath(1, "state"), "1m");
  if (!disk.mounted()) GTEST_SKIP() << "may not mount a small tmpfs here";
  ASSERT_TRUE(federation.StartAggregator());
  // A cache that cannot fit would be refused at once.
  federation.ConfigureSite(1, {"cache: {size_max_mib: 0}"});
  federation.StartSites();
  PlanText plan;
  plan.quorum = 2;
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(WaitUntil([&] {
    return absl::StrContains(federation.SiteLog(1), "No space left");
  })) << federation.SiteLog(1);
  EXPECT_TRUE(federation.site_process(1)->Running());
  disk.Grow("16m");
  EXPECT_TRUE(federation.WaitFinished()) << federation.Logs();
  EXPECT_FALSE(federation.FinalModelOf(1).empty());
  federation.site_process(1)->Kill();
}

}  // namespace
}  // namespace fedgraft::testing
