#pragma once

#include <csignal>

#include "absl/time/time.h"

namespace fedgraft {

// SIGTERM and SIGINT as something to wait for. Make it before the process
// starts its first thread: threads inherit that the two are blocked.
class StopSignal {
 public:
  StopSignal();
  // The signal that came.
  int Wait();
  // Whether one came within `timeout`.
  bool WaitFor(absl::Duration timeout);

 private:
  sigset_t signals_;
};

}  // namespace fedgraft
