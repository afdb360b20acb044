#pragma once

#include <string>

#include "absl/status/status.h"

namespace CLI {
class App;
}  // namespace CLI

namespace fedgraft {

// Adds `audit verify FILE [--head HASH]` to either daemon's `app`; what it
// answers goes to `status`. Both outlive Parse.
void AddAuditVerifyCommand(CLI::App& app, absl::Status& status,
                           const std::string& program);

}  // namespace fedgraft
