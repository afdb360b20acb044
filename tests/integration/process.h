#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"

// Child processes of tests and benches.

namespace fedgraft::testing {

// A running child. Destroying it kills it (SIGKILL) and reaps it; so does the
// end of this process, whatever its cause. Used from one thread.
class Process {
 public:
  // Standard output and error are appended to `log_path`. Aborts if the system
  // cannot make a process; a program that cannot be executed exits with 127.
  static std::unique_ptr<Process> Start(const std::vector<std::string>& argv,
                                        const std::string& log_path);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  bool Running();
  void Signal(int signal);
  // The exit code, or minus the signal that ended it; nothing while it runs
  // after `timeout`.
  std::optional<int> WaitExit(absl::Duration timeout);
  // SIGKILL; returns when the process is gone.
  void Kill();

 private:
  explicit Process(pid_t pid) : pid_(pid) {}
  pid_t pid_;
  std::optional<int> exit_;
};

struct CommandResult {
  int exit_code = 0;  // minus the signal that ended it
  std::string out;
  std::string err;
};
// Runs to the end; kills it after `timeout` (then exit_code is -9).
CommandResult RunCommand(const std::vector<std::string>& argv,
                         absl::Duration timeout = absl::Seconds(20));

// Asks `condition` every few milliseconds; false if it never held until
// `timeout`.
bool WaitUntil(const std::function<bool()>& condition,
               absl::Duration timeout = absl::Seconds(15));

// Sees at once, without asking, that a file in a folder is opened.
class FolderWatch {
 public:
  explicit FolderWatch(const std::string& folder);  // aborts if it cannot
  ~FolderWatch();
  FolderWatch(const FolderWatch&) = delete;
  FolderWatch& operator=(const FolderWatch&) = delete;

  // Whether one was opened since construction, until `timeout`.
  bool WaitOpened(absl::Duration timeout = absl::Seconds(15));

 private:
  int fd_;
};

// Empty if there is none.
std::string ReadFileOrEmpty(const std::string& path);

// A program of this build: FEDGRAFT_BIN_DIR, default beside this program.
std::string BuiltProgram(const std::string& name);

}  // namespace fedgraft::testing
