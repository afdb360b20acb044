#include <sys/resource.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "client/cli/commands.h"
#include "client/cli/program_path.h"
#include "client/net/site_daemon.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/config/config_loader.h"
#include "common/runtime/stop_signal.h"
#include "common/runtime/text_file.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

struct RunArguments {
  std::string config_path;
  bool exit_when_finished = false;
};

// How the agent ended, told by its strand to the main thread.
class EndSlot {
 public:
  void Set(absl::Status status) {
    absl::MutexLock lock(&mutex_);
    status_ = std::move(status);
  }
  std::optional<absl::Status> Get() {
    absl::MutexLock lock(&mutex_);
    return status_;
  }

 private:
  absl::Mutex mutex_;
  std::optional<absl::Status> status_ ABSL_GUARDED_BY(mutex_);
};

int64_t PeakRssBytes(int who) {
  rusage usage{};
  return getrusage(who, &usage) == 0 ? int64_t{usage.ru_maxrss} * 1024 : 0;
}

// What scripts want to know of this process afterwards.
absl::Status WriteSummary(const std::string& state_dir,
                          const AgentSnapshot& snapshot) {
  const nlohmann::json summary = {
      {"peak_rss_bytes", PeakRssBytes(RUSAGE_SELF)},
      {"trainer_peak_rss_bytes", PeakRssBytes(RUSAGE_CHILDREN)},
      {"state", AgentStateName(snapshot.state)},
      {"contributions", snapshot.contributions},
      {"train_samples", snapshot.train_samples},
      {"bytes_sent", snapshot.bytes_sent},
      {"bytes_received", snapshot.bytes_received}};
  return WriteTextFile(state_dir + "/summary.json", summary.dump(2) + "\n");
}

absl::Status Run(const RunArguments& arguments) {
  StopSignal stop;  // before any thread starts
  SiteDaemonOptions options;
  FG_ASSIGN_OR_RETURN(options.config, LoadClientConfig(arguments.config_path));
  SetUpLogging(options.config.log().level(), options.config.log().format());
  options.exit_when_finished = arguments.exit_when_finished;
  options.default_trainer = SiblingProgram("fedgraft-trainer");
  EndSlot end;
  AgentSnapshot snapshot;
  {
    FG_ASSIGN_OR_RETURN(const auto daemon,
                        SiteDaemon::Start(options, [&end](absl::Status status) {
                          end.Set(std::move(status));
                        }));
    while (!stop.WaitFor(absl::Milliseconds(50)) && !end.Get().has_value()) {
    }
    snapshot = daemon->Snapshot();
  }
  FG_RETURN_IF_ERROR(WriteSummary(options.config.state_dir(), snapshot));
  return end.Get().value_or(absl::OkStatus());
}

}  // namespace

void AddRunCommand(CLI::App& app, absl::Status& status) {
  auto arguments = std::make_shared<RunArguments>();
  CLI::App* run = app.add_subcommand("run", "Run the site's daemon");
  run->add_option("--config", arguments->config_path, "Config (YAML)")
      ->required();
  run->add_flag("--exit-when-finished", arguments->exit_when_finished,
                "End with the first run instead of waiting for another");
  run->callback([arguments, &status] { status = Run(*arguments); });
  run->footer(
      "Opens connections outwards only. What leaves is in state_dir/audit.log "
      "(see: fedgraft-client audit).\n"
      "Example:\n  fedgraft-client run --config client.yaml");
}

}  // namespace fedgraft
