#include "CLI/CLI.hpp"
#include "client/cli/commands.h"
#include "common/base/exit_code.h"
#include "common/base/logging.h"
#include "common/base/version.h"
#include "common/net/grpc/tls.h"
#include "google/protobuf/stubs/logging.h"

int main(int argc, char** argv) {
  // A peer must not be able to fill the log with bad UTF-8.
  google::protobuf::SetLogHandler(nullptr);
  fedgraft::SetUpGrpc();
  fedgraft::SetUpLogging("info", "text");
  CLI::App app(
      "FedGraft's client: trains on this hospital's images; only "
      "sealed model updates leave");
  app.set_version_flag("--version", fedgraft::kVersion);
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 done, 1 internal error, 2 wrong command line or "
      "config,\n3 missing or in the wrong state, 4 not reachable, 5 "
      "refused by identity or policy, 6 damaged data; "
      "10 new data differ\n(watch-data).");
  absl::Status status;
  fedgraft::AddRunCommand(app, status);
  fedgraft::AddEnrollCommand(app, status);
  fedgraft::AddCheckCommand(app, status);
  fedgraft::AddTrainerCommands(app, status);
  fedgraft::AddAuditCommand(app, status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return fedgraft::ReportAndExitCode(status);
}
