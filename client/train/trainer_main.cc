#include <cstdio>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "client/train/command_line.h"
#include "client/train/trainer_server.h"
#include "common/base/logging.h"
#include "common/runtime/system_clock.h"

namespace {

// Of `watch-data`: what it found calls for somebody.
constexpr int kAlarmExitCode = 10;

// Where the daemon puts the trainer's end of their socket pair.
constexpr int kSocket = 3;

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Trains and evaluates for fedgraft-client, which starts it without a "
      "subcommand and talks to it on file descriptor 3. By hand it serves to "
      "make a backbone (pretrain, import), to choose one (rank), to use a "
      "model (predict) and to watch what it is used on (watch-data).",
      "fedgraft-trainer"};
  app.require_subcommand(0, 1);
  app.footer(
      "Exit codes: 0 done, 1 failed (the reason is on standard error), "
      "10 alarm (watch-data), others: wrong command line.");
  std::string level = "warning", format = "text";
  app.add_option("--log-level", level)
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  app.add_option("--log-format", format)
      ->check(CLI::IsMember({"text", "json"}));
  app.parse_complete_callback([&] { fedgraft::SetUpLogging(level, format); });

  const fedgraft::SystemClock clock;
  absl::Status status;
  bool is_alarm = false;
  fedgraft::AddPretrainCommand(app, clock, status);
  fedgraft::AddPredictCommand(app, status);
  fedgraft::AddWatchDataCommand(app, is_alarm, status);
  fedgraft::AddRankCommand(app, clock, status);
  fedgraft::AddImportCommand(app, status);
  CLI11_PARSE(app, argc, argv);
  if (app.get_subcommands().empty()) {
    status = fedgraft::ServeTrainer(kSocket, clock);
  }
  if (status.ok()) return is_alarm ? kAlarmExitCode : 0;
  std::fprintf(stderr, "fedgraft-trainer: %s\n",
               std::string(status.message()).c_str());
  return 1;
}
