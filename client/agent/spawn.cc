#include "client/agent/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace fedgraft {
namespace {

constexpr int kChildSocket = 3;
constexpr int kSendTimeoutSeconds = 5;

// What a trainer may need to find libraries, devices, threads and time zone.
constexpr const char* kKeptVariables[] = {
    "PATH=",          "HOME=",        "LANG=",     "LC_",  "TZ=",
    "TMPDIR=",        "OMP_",         "OPENBLAS_", "MKL_", "LD_LIBRARY_PATH=",
    "CUDA_",          "NVIDIA_",      "ROCR_",     "HIP_", "ASAN_OPTIONS=",
    "UBSAN_OPTIONS=", "TSAN_OPTIONS="};

// Closes on every way out.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  ~Fd() { Reset(); }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }
  void Reset() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
};

absl::Status SystemError(int error, const std::string& what) {
  return absl::ErrnoToStatus(error, what);
}

std::vector<char*> ReducedEnvironment() {
  std::vector<char*> kept;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    for (const char* name : kKeptVariables) {
      if (absl::StartsWith(*variable, name)) kept.push_back(*variable);
    }
  }
  kept.push_back(nullptr);
  return kept;
}

// All that the child needs between fork and exec, prepared before: only
// async-signal-safe calls are allowed there.
struct ChildPlan {
  const char* binary;
  char* const* arguments;
  char* const* environment;
  uint64_t memory_bytes_max;
  int socket;
  int error_pipe;
  pid_t parent;
};

[[noreturn]] void Fail(const ChildPlan& plan) {
  const int error = errno;
  // If this write fails, the parent sees exit status 127.
  const ssize_t written = write(plan.error_pipe, &error, sizeof error);
  _exit(written == sizeof error ? 126 : 127);
}

void SetLimits(const ChildPlan& plan) {
  const rlimit no_core = {0, 0};
  if (setrlimit(RLIMIT_CORE, &no_core) != 0) Fail(plan);
  if (plan.memory_bytes_max > 0) {
    const rlimit memory = {plan.memory_bytes_max, plan.memory_bytes_max};
    if (setrlimit(RLIMIT_AS, &memory) != 0) Fail(plan);
  }
}

[[noreturn]] void RunChild(ChildPlan plan) {
  if (setpgid(0, 0) != 0) Fail(plan);
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) Fail(plan);
  if (getppid() != plan.parent) _exit(127);  // it died before prctl
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) Fail(plan);
  SetLimits(plan);
  const int null = open("/dev/null", O_RDONLY);
  if (null < 0 || dup2(null, STDIN_FILENO) < 0) Fail(plan);
  // The pipe moves out of the way of descriptor 3, then both to their places.
  const int pipe = fcntl(plan.error_pipe, F_DUPFD_CLOEXEC, kChildSocket + 2);
  const int socket = fcntl(plan.socket, F_DUPFD_CLOEXEC, kChildSocket + 2);
  if (pipe < 0 || socket < 0) Fail(plan);
  plan.error_pipe = pipe;
  if (dup2(pipe, kChildSocket + 1) < 0) Fail(plan);
  plan.error_pipe = kChildSocket + 1;
  if (fcntl(plan.error_pipe, F_SETFD, FD_CLOEXEC) != 0) Fail(plan);
  if (dup2(socket, kChildSocket) < 0) Fail(plan);
  if (syscall(SYS_close_range, kChildSocket + 2, ~0U, 0) != 0) Fail(plan);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  execve(plan.binary, plan.arguments, plan.environment);
  Fail(plan);
}

// The errno of a failed start, 0 if exec succeeded (the pipe closed).
int StartError(int pipe) {
  int error = 0;
  ssize_t got;
  do {
    got = read(pipe, &error, sizeof error);
  } while (got < 0 && errno == EINTR);
  return got == sizeof error ? error : 0;
}

}  // namespace

absl::StatusOr<SpawnedChild> SpawnWithSocket(
    const std::string& binary, const std::vector<std::string>& arguments,
    uint64_t memory_bytes_max) {
  int sockets[2], pipes[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
    return SystemError(errno, "socketpair");
  }
  Fd ours(sockets[0]), theirs(sockets[1]);
  if (pipe2(pipes, O_CLOEXEC) != 0) return SystemError(errno, "pipe");
  Fd read_end(pipes[0]), write_end(pipes[1]);
  const timeval timeout = {kSendTimeoutSeconds, 0};
  if (setsockopt(ours.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout,
                 sizeof timeout) != 0) {
    return SystemError(errno, "setsockopt");
  }

  std::vector<char*> argv = {const_cast<char*>(binary.c_str())};
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  const std::vector<char*> environment = ReducedEnvironment();
  const ChildPlan plan = {binary.c_str(),   argv.data(),  environment.data(),
                          memory_bytes_max, theirs.get(), write_end.get(),
                          getpid()};
  const pid_t pid = fork();
  if (pid < 0) return SystemError(errno, "fork");
  if (pid == 0) RunChild(plan);
  theirs.Reset();
  write_end.Reset();
  if (const int error = StartError(read_end.get()); error != 0) {
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return SystemError(error, absl::StrCat("cannot start ", binary));
  }
  return SpawnedChild{pid, ours.Release()};
}

}  // namespace fedgraft
