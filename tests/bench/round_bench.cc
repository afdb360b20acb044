// What a round costs beside the training: one aggregator and three sites as
// real processes on this machine, mutual TLS, sealed updates, every
// acknowledgement durable on the file system of TMPDIR, and trainers that
// answer at once. Usage: round_bench [rounds]

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/bench/process_cpu.h"
#include "tests/bench/table.h"
#include "tests/integration/federation.h"

namespace fedgraft::testing {
namespace {

constexpr int kSites = 3;

double Percentile(std::vector<double> values, double fraction) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(
      std::ceil(fraction * static_cast<double>(values.size() - 1)))];
}

// Milliseconds to append as many bytes to a file as a round's log entries take
// and to make them durable: what the disk alone costs.
double SyncMs(const std::string& folder, size_t size_bytes) {
  const int fd = open((folder + "/sync").c_str(),
                      O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const std::string data(size_bytes, 'x');
  std::vector<double> ms;
  for (int i = 0; i < 200; ++i) {
    const absl::Time start = absl::Now();
    if (write(fd, data.data(), data.size()) < 0 || fdatasync(fd) != 0) break;
    ms.push_back(absl::ToDoubleMilliseconds(absl::Now() - start));
  }
  close(fd);
  return ms.empty() ? 0 : Percentile(ms, 0.5);
}

// How often the threads of a process gave up their core to wait, so far.
double Waits(pid_t pid) {
  constexpr std::string_view kField = "\nvoluntary_ctxt_switches:";
  double waits = 0;
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator(
           absl::StrCat("/proc/", pid, "/task"), error)) {
    const std::string status = ReadFileOrEmpty(task.path() / "status");
    const size_t at = status.find(kField);
    if (at == std::string::npos) continue;
    waits += std::atof(status.c_str() + at + kField.size());
  }
  return waits;
}

struct Usage {
  explicit Usage(pid_t pid) : cpu_ms(bench::CpuMs(pid)), waits(Waits(pid)) {}
  double cpu_ms, waits;
};

void PrintUsage(const char* who, const Usage& begin, const Usage& end,
                double rounds) {
  std::printf("%-26s %-12s CPU %.2f ms a round, %.0f waits of its threads\n",
              "", who, (end.cpu_ms - begin.cpu_ms) / rounds,
              (end.waits - begin.waits) / rounds);
}

struct Row {
  const char* name;
  PlanText plan;
  absl::Duration timeout;
  double target_ms = 0;  // 0: none
};

bool RunRow(const Row& row) {
  Federation federation(kSites);
  if (!federation.StartAggregator()) return false;
  for (int i = 0; i < kSites; ++i) {
    federation.ControlTrainer(i, {{"log", "0"}, {"quick", "1"}});
    federation.ConfigureSite(
        i, {absl::StrCat("aggregator: 127.0.0.1:", federation.SitePort()),
            "policy: {cohort_min: 2, rounds_max: 100000}",
            "log: {level: warning}"});
  }
  federation.StartSites();
  const CommandResult start = federation.RunStart(row.plan);
  if (start.exit_code != 0) {
    std::fputs(start.err.c_str(), stderr);
    return false;
  }
  if (!federation.WaitFor([](const auto& now) { return now.round() >= 1; },
                          absl::Minutes(2))) {
    return false;
  }
  const absl::Time begin = absl::Now();
  const Usage aggregator(federation.aggregator()->pid());
  const Usage site(federation.site_process(0)->pid());
  // Asking costs the aggregator time, so it is done seldom.
  while (federation.Status().state() != "finished") {
    if (absl::Now() - begin > row.timeout) {
      std::fputs(federation.Logs().c_str(), stderr);
      return false;
    }
    absl::SleepFor(absl::Milliseconds(100));
  }
  const double wall_ms = absl::ToDoubleMilliseconds(absl::Now() - begin);
  const pb::StatusReply status = federation.Status(/*history=*/true);
  std::vector<double> ms;
  for (const auto& round : status.history()) {
    ms.push_back(round.seconds() * 1000);
  }
  const auto rounds = static_cast<double>(ms.size());
  const uint64_t update = status.history(0).bytes_up() / kSites;
  std::printf(
      "%-26s %5zu rounds  median %8.2f ms  p95 %8.2f ms  wall/round %8.2f ms\n"
      "%-26s update %.2f MB, aggregator peak RSS %.0f MB\n",
      row.name, ms.size(), Percentile(ms, 0.5), Percentile(ms, 0.95),
      wall_ms / rounds, "", static_cast<double>(update) / 1e6,
      static_cast<double>(status.peak_rss_bytes()) / 1e6);
  PrintUsage("aggregator", aggregator, Usage(federation.aggregator()->pid()),
             rounds);
  PrintUsage("site daemon", site, Usage(federation.site_process(0)->pid()),
             rounds);
  if (update < (1 << 20)) {
    std::printf("%-26s append + fdatasync of %zu B here: %.2f ms\n", "",
                static_cast<size_t>(update),
                SyncMs(federation.folder().path(), update));
  }
  std::fflush(stdout);
  if (row.target_ms > 0) {
    bench::PrintRow(absl::StrCat("round's overhead, ", row.name),
                    bench::Format("%.2f ms", Percentile(ms, 0.5)),
                    bench::Format("%.0f ms", row.target_ms),
                    Percentile(ms, 0.5) / row.target_ms, "<= 1");
  }
  return true;
}

}  // namespace
}  // namespace fedgraft::testing

int main(int argc, char** argv) {
  using fedgraft::testing::Row;
  Row small = {"11 k parameters, 3 sites", {}, absl::Minutes(5), 4};
  small.plan.rounds = argc > 1 ? std::atoi(argv[1]) : 500;
  small.plan.classes = 22;  // of squeezenet1_1's head: 11,286 values
  Row large = {"25 M parameters, 3 sites", {}, absl::Minutes(10), 0};
  large.plan.rounds = 2;
  large.plan.classes = 1000;
  large.plan.architecture = "resnet50";
  large.plan.strategy = "kind: full";
  bool ok = fedgraft::testing::RunRow(small);
  if (argc <= 2) ok &= fedgraft::testing::RunRow(large);
  return ok ? 0 : 1;
}
