#pragma once

#include "absl/status/status.h"
#include "common/runtime/clock.h"

namespace CLI {
class App;
}  // namespace CLI

namespace fedgraft {

// `pretrain`, `predict`, `watch-data`, `rank` and `import`, as subcommands of
// `app`. Their callbacks run while the command line is parsed and put the
// outcome into `status`. Arguments outlive the parsing.
void AddPretrainCommand(CLI::App& app, const Clock& clock,
                        absl::Status& status);
void AddPredictCommand(CLI::App& app, absl::Status& status);
// `is_alarm`: whether new data differ.
void AddWatchDataCommand(CLI::App& app, bool& is_alarm, absl::Status& status);
void AddRankCommand(CLI::App& app, const Clock& clock, absl::Status& status);
void AddImportCommand(CLI::App& app, absl::Status& status);

}  // namespace fedgraft
