#pragma once

#include "absl/status/status.h"

namespace CLI {
class App;
}  // namespace CLI

namespace fedgraft {

// Each adds one subcommand (with its options, help and examples) to `app`;
// parsing runs it, and what it answers goes to `status`. All outlive Parse.
void AddRunCommand(CLI::App& app, absl::Status& status);
void AddEnrollCommand(CLI::App& app, absl::Status& status);
void AddCheckCommand(CLI::App& app, absl::Status& status);
// pretrain, predict, watch-data, rank and import: handed to fedgraft-trainer,
// which takes the process's place.
void AddTrainerCommands(CLI::App& app, absl::Status& status);
void AddAuditCommand(CLI::App& app, absl::Status& status);

}  // namespace fedgraft
