#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace CLI {
class App;
}  // namespace CLI

namespace fedgraft {

// Each adds one subcommand (with its options, help and examples) to `app`;
// parsing runs it, and what it answers goes to `status`. All outlive Parse.
void AddServeCommand(CLI::App& app, absl::Status& status);
void AddPkiCommand(CLI::App& app, absl::Status& status);
void AddPlanCommand(CLI::App& app, absl::Status& status);
// To `plan`, by AddPlanCommand.
void AddPlanRankCommand(CLI::App& plan, absl::Status& status);
void AddRunCommand(CLI::App& app, absl::Status& status);
void AddWatchCommands(CLI::App& app, absl::Status& status);  // status, watch,
                                                             // report
void AddExportCommand(CLI::App& app, absl::Status& status);
void AddAuditCommand(CLI::App& app, absl::Status& status);

}  // namespace fedgraft
