#include "common/audit/audit_command.h"

#include "CLI/CLI.hpp"
#include "aggregator/cli/commands.h"

namespace fedgraft {

void AddAuditCommand(CLI::App& app, absl::Status& status) {
  AddAuditVerifyCommand(app, status, "fedgraft-aggregator");
}

}  // namespace fedgraft
