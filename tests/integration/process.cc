#include "tests/integration/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/time/clock.h"
#include "common/base/check.h"

namespace fedgraft::testing {
namespace {

constexpr absl::Duration kPollInterval = absl::Milliseconds(2);

// In the child: only calls that are safe after fork of a threaded process.
[[noreturn]] void Execute(char* const* argv, int out, int err) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int null = open("/dev/null", O_RDONLY);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (null < 0 || dup2(null, STDIN_FILENO) < 0 ||
      dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0) {
    _exit(127);
  }
  execv(argv[0], argv);
  _exit(127);
}

pid_t Spawn(const std::vector<std::string>& argv, int out, int err) {
  std::vector<char*> words;
  for (const std::string& word : argv) {
    words.push_back(const_cast<char*>(word.c_str()));
  }
  words.push_back(nullptr);
  const pid_t pid = fork();
  FG_CHECK(pid >= 0);
  if (pid == 0) Execute(words.data(), out, err);
  return pid;
}

int OpenLog(const std::string& path) {
  const int fd =
      open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  FG_CHECK(fd >= 0);
  return fd;
}

}  // namespace

std::unique_ptr<Process> Process::Start(const std::vector<std::string>& argv,
                                        const std::string& log_path) {
  const int log = OpenLog(log_path);
  std::unique_ptr<Process> process(new Process(Spawn(argv, log, log)));
  close(log);
  return process;
}

Process::~Process() { Kill(); }

bool Process::Running() {
  if (exit_.has_value()) return false;
  int status = 0;
  const pid_t reaped = waitpid(pid_, &status, WNOHANG);
  if (reaped == 0) return true;
  FG_CHECK(reaped == pid_);
  exit_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return false;
}

void Process::Signal(int signal) {
  if (Running()) kill(pid_, signal);
}

std::optional<int> Process::WaitExit(absl::Duration timeout) {
  WaitUntil([this] { return !Running(); }, timeout);
  return exit_;
}

void Process::Kill() {
  Signal(SIGKILL);
  FG_CHECK(WaitExit(absl::Seconds(30)).has_value());
}

CommandResult RunCommand(const std::vector<std::string>& argv,
                         absl::Duration timeout) {
  char out_name[] = "/tmp/fedgraft-out-XXXXXX";
  char err_name[] = "/tmp/fedgraft-err-XXXXXX";
  const int out = mkostemp(out_name, O_CLOEXEC);
  const int err = mkostemp(err_name, O_CLOEXEC);
  FG_CHECK(out >= 0 && err >= 0);
  CommandResult result;
  {
    const pid_t pid = Spawn(argv, out, err);
    int status = 0;
    const auto reaped = [&] { return waitpid(pid, &status, WNOHANG) == pid; };
    if (!WaitUntil(reaped, timeout)) {
      kill(pid, SIGKILL);
      FG_CHECK(waitpid(pid, &status, 0) == pid);
    }
    result.exit_code =
        WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  close(out);
  close(err);
  result.out = ReadFileOrEmpty(out_name);
  result.err = ReadFileOrEmpty(err_name);
  unlink(out_name);
  unlink(err_name);
  return result;
}

bool WaitUntil(const std::function<bool()>& condition, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(kPollInterval);
  }
  return true;
}

FolderWatch::FolderWatch(const std::string& folder)
    : fd_(inotify_init1(IN_CLOEXEC)) {
  FG_CHECK(fd_ >= 0);
  FG_CHECK(inotify_add_watch(fd_, folder.c_str(), IN_OPEN) >= 0);
}

FolderWatch::~FolderWatch() { close(fd_); }

bool FolderWatch::WaitOpened(absl::Duration timeout) {
  pollfd ready{.fd = fd_, .events = POLLIN, .revents = 0};
  return poll(&ready, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout))) >
         0;
}

std::string ReadFileOrEmpty(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string BuiltProgram(const std::string& name) {
  const char* folder = std::getenv("FEDGRAFT_BIN_DIR");
  const std::filesystem::path base =
      folder != nullptr
          ? std::filesystem::path(folder)
          : std::filesystem::read_symlink("/proc/self/exe").parent_path();
  return (base / name).string();
}

}  // namespace fedgraft::testing
