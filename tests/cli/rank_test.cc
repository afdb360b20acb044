#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregator/cli/rank_results.h"
#include "aggregator/cli/rank_runs.h"
#include "common/config/plan_loader.h"
#include "common/config/probe_plan.h"
#include "common/runtime/text_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/config/plan_text.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace fedgraft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::IsError;
using testing::IsOk;
using testing::TempFolder;

constexpr auto kFailed = absl::StatusCode::kFailedPrecondition;

RankCandidate Candidate(const std::string& architecture, char digit) {
  const Plan plan = *ParsePlanYaml(MinimalPlan(), "plan.yaml");
  return {
      architecture, absl::StrCat("/b/", architecture),
      *ProbePlan(plan, architecture, *Digest::FromHex(std::string(64, digit)))};
}

// An aggregator that runs one run at a time and knows the newest only.
class FakeAdmin {
 public:
  std::vector<std::string> started;  // backbone paths
  std::vector<std::string> told;
  double log_me = -1;         // of the next run, which rises
  bool stops_runs = false;    // an operator stops each run
  int starts_left = 1 << 20;  // then the connection is gone
  pb::StatusReply now;

  FakeAdmin() { now.set_federation("lungs"); }

  RankPorts Ports() {
    RankPorts ports;
    ports.status = [this] { return now; };
    ports.start = [this](ByteSpan plan, const std::string& path) {
      return Start(plan, path);
    };
    ports.watch = [this](const auto& update) {
      if (!update(now)) return absl::OkStatus();
      now.set_state(stops_runs ? "stopped" : "finished");
      update(now);
      return absl::OkStatus();
    };
    ports.tell = [this](const std::string& line) { told.push_back(line); };
    return ports;
  }

  absl::Status Start(ByteSpan plan, const std::string& path) {
    if (now.state() == "solving") {
      return absl::FailedPreconditionError("run r is open; stop it first");
    }
    if (starts_left-- == 0) return absl::UnavailableError("gone");
    started.push_back(path);
    now.set_run_id(absl::StrCat("r", started.size()));
    now.set_plan_hash(PlanFromBytes(plan)->hash.AsWire());
    now.set_state("solving");
    now.clear_history();
    auto& solved = *now.add_history()->mutable_metrics();
    solved["transfer_log_me"] = log_me++;
    solved["transfer_records"] = 50;
    auto& evaluated = *now.add_history()->mutable_metrics();
    evaluated["solve_validation_loss"] = 0.125;
    evaluated["auc"] = 0.75;
    return absl::OkStatus();
  }
};

class RankRunsTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::vector<RankResult>> Rank(bool anew = false) {
    auto file = RankFile::Open(path_);
    EXPECT_THAT(file, IsOk());
    return RunCandidates(candidates_, anew, admin_.Ports(), *file);
  }

  TempFolder folder_;
  std::string path_ = folder_.File("results.json");
  std::vector<RankCandidate> candidates_ = {Candidate("resnet18", 'b'),
                                            Candidate("resnet34", 'c')};
  FakeAdmin admin_;
};

TEST_F(RankRunsTest, OneRunPerCandidateGivesItsValues) {
  const auto results = Rank();
  ASSERT_THAT(results, IsOk());
  EXPECT_THAT(admin_.started, ElementsAre("/b/resnet18", "/b/resnet34"));
  ASSERT_EQ(results->size(), 2u);
  const RankResult& second = (*results)[1];
  EXPECT_EQ(second.run, "r2");
  EXPECT_EQ(second.architecture, "resnet34");
  EXPECT_EQ(second.sha256, std::string(64, 'c'));
  EXPECT_EQ(second.values.at("log_me"), 0);
  EXPECT_EQ(second.values.at("records"), 50);
  EXPECT_EQ(second.values.at("ridge_validation_loss"), 0.125);
  EXPECT_EQ(second.values.at("validation_auc"), 0.75);
}

TEST_F(RankRunsTest, ACallAfterOneThatWasCutOffRunsOnlyWhatIsMissing) {
  admin_.starts_left = 1;
  EXPECT_THAT(Rank(), IsError(absl::StatusCode::kUnavailable,
                              "plan rank, resnet34 /b/resnet34: gone"));
  admin_.starts_left = 10;
  const auto results = Rank();
  ASSERT_THAT(results, IsOk());
  EXPECT_THAT(admin_.started, ElementsAre("/b/resnet18", "/b/resnet34"));
  EXPECT_EQ((*results)[0].values.at("log_me"), -1);
  EXPECT_THAT(admin_.told, ::testing::Contains(HasSubstr("known from run r1")));
}

// Killed after the start and before the result.
TEST_F(RankRunsTest, ARunThatGoesOnIsTakenUp) {
  ASSERT_THAT(admin_.Start(candidates_[0].probe.bytes, "/b/resnet18"), IsOk());
  ASSERT_EQ(admin_.now.state(), "solving");
  ASSERT_THAT(Rank(), IsOk());
  EXPECT_THAT(admin_.started, ElementsAre("/b/resnet18", "/b/resnet34"));
}

TEST_F(RankRunsTest, AnewMeasuresWhatIsKnown) {
  ASSERT_THAT(Rank(), IsOk());
  const auto results = Rank(/*anew=*/true);
  ASSERT_THAT(results, IsOk());
  EXPECT_EQ(admin_.started.size(), 4u);
  EXPECT_EQ((*results)[0].values.at("log_me"), 1);
  // And the new values take the place of the old ones.
  EXPECT_EQ((*Rank())[0].values.at("log_me"), 1);
}

TEST_F(RankRunsTest, ResultsOfAnotherFederationDoNotCount) {
  ASSERT_THAT(Rank(), IsOk());
  admin_.now = pb::StatusReply();
  admin_.now.set_federation("hearts");
  ASSERT_THAT(Rank(), IsOk());
  EXPECT_EQ(admin_.started.size(), 4u);
}

TEST_F(RankRunsTest, AStoppedRunIsNoResultAndIsRunAgain) {
  admin_.stops_runs = true;
  EXPECT_THAT(Rank(), IsError(kFailed, "run r1 is stopped"));
  admin_.stops_runs = false;
  ASSERT_THAT(Rank(), IsOk());
  EXPECT_EQ(admin_.started.size(), 3u);
}

TEST_F(RankRunsTest, AnotherOpenRunIsLeftAlone) {
  admin_.now.set_run_id("training");
  admin_.now.set_plan_hash(std::string(32, 'x'));
  admin_.now.set_state("solving");
  EXPECT_THAT(Rank(), IsError(kFailed, "stop it first"));
}

TEST_F(RankRunsTest, ARunWithoutMeasuresSaysWhatWasExpected) {
  admin_.now.set_run_id("r0");
  EXPECT_THAT(ValuesOfRun(admin_.now), IsError(kFailed, "2048 features"));
}

TEST_F(RankRunsTest, AFileOfSomethingElseIsRefused) {
  for (const char* text : {"", "{}", "[1]", "[{\"run\": \"r1\"}]", "model"}) {
    ASSERT_THAT(WriteTextFile(path_, text), IsOk());
    EXPECT_THAT(RankFile::Open(path_).status(), IsError(kFailed, path_))
        << text;
  }
}

TEST(RankResultsTest, BestLogMeComesFirstAndMissingOnesLast) {
  std::vector<RankResult> results(3);
  results[0].architecture = "none";
  results[1] = {"f", "h", "r", "low", "/l", "aa", {{"log_me", -2.0}}};
  results[2] = {"f", "h", "r", "high", "/h", "bb", {{"log_me", -0.5}}};
  SortByLogMe(results);
  EXPECT_EQ(results[0].architecture, "high");
  EXPECT_EQ(results[2].architecture, "none");
  const std::string table = RankTable(results);
  EXPECT_THAT(table, ::testing::ContainsRegex("high +1 .* -0\\.5000 "));
  EXPECT_THAT(table, ::testing::ContainsRegex("none +3 .* - "));
  const auto json = nlohmann::json::parse(RankJson(results));
  EXPECT_EQ(json[0]["log_me"], -0.5);
  EXPECT_EQ(json[1]["architecture"], "low");
  EXPECT_FALSE(json[2].contains("log_me"));
}

}  // namespace
}  // namespace fedgraft
