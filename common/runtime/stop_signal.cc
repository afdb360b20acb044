#include "common/runtime/stop_signal.h"

#include <pthread.h>

#include "common/base/check.h"

namespace fedgraft {

StopSignal::StopSignal() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGTERM);
  sigaddset(&signals_, SIGINT);
  FG_CHECK(pthread_sigmask(SIG_BLOCK, &signals_, nullptr) == 0);
  // A peer that closes a pipe or socket must not end the process.
  signal(SIGPIPE, SIG_IGN);
}

int StopSignal::Wait() {
  int signal = 0;
  while (sigwait(&signals_, &signal) != 0) {
  }
  return signal;
}

bool StopSignal::WaitFor(absl::Duration timeout) {
  const timespec time = absl::ToTimespec(timeout);
  return sigtimedwait(&signals_, nullptr, &time) > 0;
}

}  // namespace fedgraft
