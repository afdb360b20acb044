#include "common/audit/audit_command.h"

#include "client/cli/commands.h"

namespace fedgraft {

void AddAuditCommand(CLI::App& app, absl::Status& status) {
  AddAuditVerifyCommand(app, status, "fedgraft-client");
}

}  // namespace fedgraft
