#pragma once

#include "absl/status/status.h"

namespace fedgraft {

// Exit codes of every command: 0 done; 1 our own error; 2 wrong command line,
// config or plan; 3 something is missing or in the wrong state; 4 not
// reachable, try again; 5 refused by identity or policy; 6 damaged data.
int ExitCode(const absl::Status& status);

// Prints "error: <message>" to standard error unless OK; returns ExitCode.
int ReportAndExitCode(const absl::Status& status);

}  // namespace fedgraft
