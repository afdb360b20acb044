// What masks add to a round: the same rounds with and without secure
// aggregation, through real daemons on this machine (mutual TLS, sealed 32-bit
// words, everything durable on the disk of TMPDIR, which all of them share),
// and trainers that answer at once. In every other round one site is stopped
// (SIGSTOP) once it has shared its keys and begun to train. Then the others
// wait for it, masked or not, until it has been silent for the progress
// time-out: what masks add is the rest. Usage: masked_round_bench [sites
// [rounds]]

#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/bench/table.h"
#include "tests/integration/federation.h"

namespace fedgraft::bench {
namespace {

using testing::Federation;

constexpr absl::Duration kSilence = absl::Seconds(1);
constexpr absl::Duration kTimeout = absl::Minutes(5);
constexpr int kVictim = 0;
// Of squeezenet1_1 with so many classes: 1,000,029 parameters.
constexpr int kClasses = 541;

struct Setting {
  int sites = 10;
  int rounds = 16;
  bool masked = false;
  bool drops_out = false;
};

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

bool StartRun(Federation& federation, const Setting& setting) {
  if (setting.masked) federation.PinRosters();
  if (!federation.StartAggregator()) return false;
  for (int i = 0; i < setting.sites; ++i) {
    const bool slow = setting.drops_out && i == kVictim;
    // Long enough to be stopped in, short enough to be back in time.
    federation.ControlTrainer(i, {{"log", slow ? "1" : "0"},
                                  {"quick", "1"},
                                  {"delay_ms", slow ? "300" : "0"}});
    federation.ConfigureSite(
        i, {absl::StrCat("aggregator: 127.0.0.1:", federation.SitePort()),
            "log: {level: warning}"});
  }
  federation.StartSites();
  testing::PlanText plan;
  plan.rounds = setting.rounds;
  plan.quorum = setting.sites - 1;
  plan.expected = setting.sites;
  plan.classes = kClasses;
  plan.strategy = "kind: full";
  plan.deadlines = absl::StrCat(
      "round: 1h, progress: ", absl::FormatDuration(kSilence), ", enrol: 1h");
  plan.more = absl::StrCat("privacy: {secure_aggregation: {mode: \"",
                           setting.masked ? "on" : "off", "\"}}\n");
  const auto start = federation.RunStart(plan);
  if (start.exit_code != 0) std::fputs(start.err.c_str(), stderr);
  return start.exit_code == 0;
}

// Whether the round before `round` is the last that ended.
bool HasEnded(Federation& federation, int round) {
  const auto status = federation.Status();
  return status.state() == "finished" ||
         static_cast<int>(status.round()) > round;
}

// Stops the victim in rounds 2, 4, … until they have ended.
bool StopVictim(Federation& federation, const Setting& setting) {
  testing::Process& victim = *federation.site_process(kVictim);
  const absl::Time deadline = absl::Now() + kTimeout;
  for (int round = 2; round <= setting.rounds; round += 2) {
    const std::string begun = absl::StrCat(" train ", round, "\n");
    while (!absl::StrContains(testing::ReadFileOrEmpty(federation.SitePath(
                                  kVictim, "trainer.conf.log")),
                              begun)) {
      if (absl::Now() > deadline) return false;
      absl::SleepFor(absl::Milliseconds(3));
    }
    victim.Signal(SIGSTOP);
    bool ended = false;
    while (!(ended = HasEnded(federation, round)) && absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(30));
    }
    victim.Signal(SIGCONT);
    if (!ended) return false;
  }
  return true;
}

// Seconds of the rounds that count, but for the wait for who is silent; none
// if something went wrong.
std::vector<double> Rounds(const Setting& setting) {
  Federation federation(setting.sites);
  const bool ran = StartRun(federation, setting) &&
                   (!setting.drops_out || StopVictim(federation, setting)) &&
                   federation.WaitFinished(kTimeout);
  if (!ran) {
    std::fputs(federation.Logs().c_str(), stderr);
    return {};
  }
  std::vector<double> seconds;
  const auto status = federation.Status(/*history=*/true);
  for (const auto& round : status.history()) {
    const bool is_out = setting.drops_out && round.round() % 2 == 0;
    if (setting.drops_out && !is_out) continue;
    const int expected = setting.sites - (is_out ? 1 : 0);
    if (round.sites_size() != expected || round.round() == 1) continue;
    seconds.push_back(round.seconds() -
                      (is_out ? absl::ToDoubleSeconds(kSilence) : 0));
  }
  return seconds;
}

bool Compare(Setting setting) {
  setting.masked = false;
  const std::vector<double> plain = Rounds(setting);
  setting.masked = true;
  const std::vector<double> masked = Rounds(setting);
  if (plain.empty() || masked.empty()) return false;
  const double added = Median(masked) - Median(plain);
  PrintRow(
      Format("masks add to a round of %d sites x 1M parameters, daemons, %s",
             setting.sites,
             setting.drops_out ? "1 silent after sharing" : "none out"),
      Format("%.3f s (%.3f s with, %zu rounds)", added, Median(masked),
             masked.size()),
      Format("0.2 s (%.3f s without, %zu rounds)", Median(plain), plain.size()),
      added / 0.2, "<= 1");
  return true;
}

}  // namespace
}  // namespace fedgraft::bench

int main(int argc, char** argv) {
  fedgraft::bench::Setting setting;
  if (argc > 1) setting.sites = std::atoi(argv[1]);
  if (argc > 2) setting.rounds = std::atoi(argv[2]);
  bool ok = fedgraft::bench::Compare(setting);
  setting.drops_out = true;
  ok &= fedgraft::bench::Compare(setting);
  return ok ? 0 : 1;
}
