#include <map>
#include <memory>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/integration/federation.h"

// A site is killed (SIGKILL) in one step of secure aggregation and does not
// come back: the sum is that of an unmasked run over the same sites, to the
// bit.

namespace fedgraft::testing {
namespace {

constexpr int kSites = 5;  // of which four are the threshold
constexpr int kVictim = 2;
constexpr char kSecure[] = "privacy: {secure_aggregation: {mode: \"on\"}}\n";

PlanText SolvePlan() {
  PlanText plan;
  plan.rounds = 0;
  plan.more = "solver: {kind: newton, lambdas: [10]}\n";
  return plan;
}

PlanText AdamPlan() {
  PlanText plan;
  plan.rounds = 2;
  plan.more = "rule: {kind: fed_adam, server_learning_rate: 0.01}\n";
  return plan;
}

class Run {
 public:
  // `delay_ms`: what the victim takes for a sum.
  Run(PlanText plan, bool is_masked, bool with_victim, int delay_ms = 0)
      : federation_(kSites) {
    if (is_masked) federation_.PinRosters();
    EXPECT_TRUE(federation_.StartAggregator());
    federation_.ControlTrainer(kVictim, {{"delay_ms", absl::StrCat(delay_ms)}});
    for (int i = 0; i < kSites; ++i) {
      if (with_victim || i != kVictim) federation_.StartSite(i);
    }
    plan.architecture = "identity";
    plan.quorum = kSites - 1;
    plan.expected = kSites;
    plan.deadlines = absl::StrCat("round: 1h, progress: 5s, enrol: ",
                                  with_victim ? "1h" : "2s");
    if (is_masked) plan.more += kSecure;
    const CommandResult start = federation_.RunStart(plan);
    EXPECT_EQ(start.exit_code, 0) << start.err;
  }

  // Once the victim has begun (`mask`: to train or to sum) or recorded as said
  // (all others) this step.
  void KillVictimIn(const std::string& kind, uint32_t round,
                    const std::string& step) {
    const auto in_step = [&] {
      return step == "mask" ? HasBegun(kind) : HasSaid(kind, round, step);
    };
    EXPECT_TRUE(WaitUntil(in_step, absl::Seconds(60))) << federation_.Logs();
    federation_.site_process(kVictim)->Kill();
  }

  std::string Model() {
    EXPECT_TRUE(federation_.WaitFinished(absl::Seconds(120)))
        << federation_.Logs();
    return federation_.Model();
  }
  uint32_t Round() { return federation_.Status().round(); }
  // Whether a sum had to be begun again.
  bool HasReopened() const {
    return absl::StrContains(federation_.AggregatorLog(), "stays masked");
  }

 private:
  bool HasBegun(const std::string& kind) const {
    for (const TrainerCall& call : federation_.TrainerCalls(kVictim)) {
      if (call.kind == kind) return true;
    }
    return false;
  }
  bool HasSaid(const std::string& kind, uint32_t round,
               const std::string& step) const {
    std::istringstream log(
        ReadFileOrEmpty(federation_.SitePath(kVictim, "state/audit.log")));
    const std::string detail = absl::StrCat(kind, ", ", step, ", attempt 1");
    for (std::string line; std::getline(log, line);) {
      const auto entry = nlohmann::json::parse(line, nullptr, false);
      if (!entry.is_discarded() && entry.value("event", "") == "secure_step" &&
          entry.value("round", "") == absl::StrCat(round) &&
          entry.value("detail", "") == detail) {
        return true;
      }
    }
    return false;
  }

  Federation federation_;
};

// `kind`: of the tasks that are masked. Killed before its update is there, in
// the first sum: as if it had never come. Killed after, in the last sum: as if
// it had stayed.
void KilledInEveryStep(const PlanText& plan, const std::string& kind) {
  Run all(plan, false, true), without(plan, false, false);
  const std::string of_all = all.Model(), of_others = without.Model();
  ASSERT_NE(of_all, of_others);
  const uint32_t last = all.Round();
  // All wait for the dead site at the same time.
  std::map<std::string, std::unique_ptr<Run>> early, late;
  for (const std::string step : {"advertise", "share", "mask"}) {
    // It dies before its update is there.
    early[step] = std::make_unique<Run>(plan, true, true, 300);
    early[step]->KillVictimIn(kind, 1, step);
  }
  for (const std::string step : {"agree", "unmask"}) {
    late[step] = std::make_unique<Run>(plan, true, true);
    late[step]->KillVictimIn(kind, last, step);
  }
  for (const auto& [step, run] : early) {
    EXPECT_EQ(run->Model(), of_others) << step;
    EXPECT_FALSE(run->HasReopened()) << step;
  }
  for (const auto& [step, run] : late) {
    EXPECT_EQ(run->Model(), of_all) << step;
    EXPECT_FALSE(run->HasReopened()) << step;
  }
}

TEST(SecureDropoutTest, ASiteMayDieInAnyStepOfAnExactHead) {
  KilledInEveryStep(SolvePlan(), "solve");
}

TEST(SecureDropoutTest, ASiteMayDieInAnyStepOfAnAdaptiveRule) {
  KilledInEveryStep(AdamPlan(), "train");
}

}  // namespace
}  // namespace fedgraft::testing
