// A round with many large updates through real daemons over mutual TLS: each
// site hands in all parameters of a ResNet-50 (25.6 M, 32-bit words, sealed,
// durable before they are acknowledged) and fetches the next model. Trainers
// answer at once. The yardstick is bare gRPC over TLS that moves the same bytes
// in the same run. Rounds after the first count. Usage:
// large_round_bench [sites [rounds [architecture]]]
//
// What a round must do besides moving 1 GB up and down, in seconds of CPU of
// one core (AMD EPYC of family 26, OpenSSL 3.0) where bare gRPC takes 2.4 to
// 2.9: SHA-256 of the fetched model 0.5; AES-256-GCM sealing and opening 0.4;
// writing over three files in the page cache and starting their way to the disk
// 0.4; reading the trainer's file twice, the update and the model 0.2;
// quantising, measuring and adding words 0.3. With the moving itself that makes
// 1.7 times the yardstick.

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "aggregator/admin/pki.h"
#include "common/net/identity.h"
#include "tests/bench/bare_mover.h"
#include "tests/bench/process_cpu.h"
#include "tests/bench/table.h"
#include "tests/integration/federation.h"

namespace fedgraft::bench {
namespace {

using testing::Federation;

struct Setting {
  int sites = 10;
  int rounds = 7;
  std::string architecture = "resnet50";
};

BareMove MoveOf(const Federation& federation, uint64_t bytes) {
  const std::string pki = federation.Path("pki/");
  BareMove move;
  move.server = {pki + std::string(kPkiAggregatorKeyFile),
                 pki + std::string(kPkiAggregatorFile), pki + "ca.pem"};
  for (int i = 0; i < federation.num_sites(); ++i) {
    const std::string identity = federation.SitePath(i, "identity/");
    move.clients.push_back({identity + std::string(kIdentityKeyFile),
                            identity + std::string(kIdentityCertificateFile),
                            identity + std::string(kIdentityCaFile)});
  }
  move.up_bytes = move.down_bytes = bytes;
  return move;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

bool Run(const Setting& setting) {
  Federation federation(setting.sites);
  if (!federation.StartAggregator()) return false;
  for (int i = 0; i < setting.sites; ++i) {
    federation.ControlTrainer(i, {{"log", "0"}, {"quick", "1"}});
    federation.ConfigureSite(
        i, {absl::StrCat("aggregator: 127.0.0.1:", federation.SitePort()),
            "policy: {cohort_min: 2, rounds_max: 100000}",
            "log: {level: warning}"});
  }
  federation.StartSites();
  testing::PlanText plan;
  plan.rounds = setting.rounds;
  plan.quorum = setting.sites;
  plan.classes = 1000;
  plan.architecture = setting.architecture;
  plan.strategy = "kind: full";
  const auto start = federation.RunStart(plan);
  if (start.exit_code != 0) {
    std::fputs(start.err.c_str(), stderr);
    return false;
  }
  const auto round_begun = [](const auto& now) { return now.round() >= 1; };
  if (!federation.WaitFor(round_begun, absl::Minutes(20))) return false;
  const pid_t aggregator = federation.aggregator()->pid();
  const auto daemons_ms = [&] {
    double sum = CpuMs(aggregator);
    for (int i = 0; i < setting.sites; ++i) {
      sum += CpuMs(federation.site_process(i)->pid());
    }
    return sum;
  };
  // CPU time when each round was first seen to be under way, so within what
  // half a second holds.
  struct Clock {
    uint32_t round;
    double aggregator_ms, all_ms;
  };
  std::vector<Clock> clocks;
  const absl::Time deadline = absl::Now() + absl::Minutes(30);
  // Asking costs the aggregator time, so it is done seldom.
  for (bool finished = false; !finished;) {
    const pb::StatusReply now = federation.Status();
    finished = now.state() == "finished";
    const uint32_t round =
        finished ? static_cast<uint32_t>(setting.rounds) + 1 : now.round();
    if (clocks.empty() || clocks.back().round != round) {
      clocks.push_back({round, CpuMs(aggregator), daemons_ms()});
    }
    if (absl::Now() > deadline) {
      std::fputs(federation.Logs().c_str(), stderr);
      return false;
    }
    absl::SleepFor(absl::Milliseconds(500));
  }
  std::vector<double> cpu, aggregator_cpu;
  for (size_t i = 1; i < clocks.size(); ++i) {
    if (clocks[i - 1].round <= 1) continue;
    const double rounds = clocks[i].round - clocks[i - 1].round;
    const double all = clocks[i].all_ms - clocks[i - 1].all_ms;
    const double one = clocks[i].aggregator_ms - clocks[i - 1].aggregator_ms;
    cpu.push_back(all / 1000 / rounds);
    aggregator_cpu.push_back(one / 1000 / rounds);
    std::printf("round %u: CPU of aggregator %.2f s, of all daemons %.2f s\n",
                clocks[i - 1].round, aggregator_cpu.back(), cpu.back());
  }
  const double cpu_s = Median(cpu);
  // Sites fetch the last model.
  for (double before = -1; daemons_ms() > before;) {
    before = daemons_ms() + 50;
    absl::SleepFor(absl::Seconds(1));
  }
  const pb::StatusReply status = federation.Status(/*history=*/true);
  std::vector<double> seconds;
  for (const auto& round : status.history()) {
    std::printf("round %u: %.2f s\n", round.round(), round.seconds());
    // The first fills files and the page cache.
    if (round.round() > 1) seconds.push_back(round.seconds());
  }
  const uint64_t bytes =
      status.history(0).bytes_up() / static_cast<uint64_t>(setting.sites);
  // The daemons are idle by now.
  const BareMove move = MoveOf(federation, bytes);
  std::vector<double> bare;
  const double bare_cpu = Seconds(CLOCK_PROCESS_CPUTIME_ID);
  for (int i = 0; i < 5; ++i) bare.push_back(MoveBare(move));
  const double bare_cpu_s = (Seconds(CLOCK_PROCESS_CPUTIME_ID) - bare_cpu) / 5;

  const double megabytes = static_cast<double>(bytes) / 1e6;
  PrintRow(Format("round of %d sites x %.0f MB, daemons, TLS, durable",
                  setting.sites, megabytes),
           Format("%.2f s", Median(seconds)),
           Format("bare gRPC over TLS %.2f s", Median(bare)),
           Median(seconds) / Median(bare), "<= 2");
  // Says the same on a machine that has other work as well.
  PrintRow("CPU of all daemons in it", Format("%.2f s", cpu_s),
           Format("bare gRPC over TLS %.2f s", bare_cpu_s), cpu_s / bare_cpu_s,
           "");
  const double rss = static_cast<double>(status.peak_rss_bytes()) / 1e6;
  PrintRow("aggregator's peak RSS in it", Format("%.0f MB", rss),
           Format("trainable set + 150 MB: %.0f MB", megabytes + 150),
           rss / (megabytes + 150), "<= 1");
  return true;
}

}  // namespace
}  // namespace fedgraft::bench

int main(int argc, char** argv) {
  fedgraft::bench::Setting setting;
  if (argc > 1) setting.sites = std::atoi(argv[1]);
  if (argc > 2) setting.rounds = std::max(2, std::atoi(argv[2]));
  if (argc > 3) setting.architecture = argv[3];
  return fedgraft::bench::Run(setting) ? 0 : 1;
}
