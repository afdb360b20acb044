#include <csignal>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "aggregator/cli/commands.h"
#include "aggregator/net/server.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/config/config_loader.h"
#include "common/runtime/stop_signal.h"

namespace fedgraft {
namespace {

absl::Status Serve(const std::string& config_path) {
  StopSignal stop;  // before any thread starts
  FG_ASSIGN_OR_RETURN(const pb::AggregatorConfig config,
                      LoadAggregatorConfig(config_path));
  SetUpLogging(config.log().level(), config.log().format());
  FG_ASSIGN_OR_RETURN(const auto server, AggregatorServer::Start(config));
  const int signal = stop.Wait();
  FG_LOG_INFO("stopping on signal {}", signal);
  return absl::OkStatus();
}

}  // namespace

void AddServeCommand(CLI::App& app, absl::Status& status) {
  CLI::App* serve = app.add_subcommand("serve", "Run the aggregator daemon");
  auto config = std::make_shared<std::string>();
  serve->add_option("--config", *config, "Config (YAML)")->required();
  serve->callback([config, &status] { status = Serve(*config); });
  serve->footer(
      "The state folder holds everything: after a crash, start it again and "
      "the run goes on. With web.listen in the config it also serves a status "
      "page.\n"
      "Example:\n  fedgraft-aggregator serve --config aggregator.yaml");
}

}  // namespace fedgraft
