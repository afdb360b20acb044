#include "client/agent/child_process.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/agent/spawn.h"
#include "common/base/status_macros.h"

namespace fedgraft {

// How many frames may still be handed over.
struct ChildProcess::Slots {
  std::mutex mutex;
  std::condition_variable freed;
  int free = kFramesWaitingMax;
  bool closed = false;
};

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(
    const ChildOptions& options, OnFrame on_frame, OnEnd on_end) {
  FG_ASSIGN_OR_RETURN(const SpawnedChild spawned,
                      SpawnWithSocket(options.binary, options.arguments,
                                      options.memory_bytes_max));
  std::unique_ptr<ChildProcess> child(
      new ChildProcess(spawned.pid, spawned.socket));
  child->slots_ = std::make_shared<Slots>();
  child->reader_ = std::thread(
      [child = child.get(), on_frame = std::move(on_frame),
       on_end = std::move(on_end)] { child->Read(on_frame, on_end); });
  return child;
}

ChildProcess::~ChildProcess() {
  Kill();
  reader_.join();
  close(socket_);
}

absl::Status ChildProcess::Send(ByteSpan payload) {
  ByteWriter writer;
  writer.Sized(payload);
  const Bytes& frame = writer.bytes();
  for (size_t done = 0; done < frame.size();) {
    const ssize_t sent =
        send(socket_, frame.data() + done, frame.size() - done, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) {
      return absl::UnavailableError(absl::StrCat(
          "the trainer does not take requests: ", std::strerror(errno)));
    }
    done += static_cast<size_t>(sent);
  }
  return absl::OkStatus();
}

void ChildProcess::Kill() {
  {
    std::lock_guard<std::mutex> lock(slots_->mutex);
    slots_->closed = true;
    slots_->freed.notify_all();
  }
  std::lock_guard<std::mutex> lock(mutex_);
  // Once it is waited for, its number may be another's.
  if (!reaped_) kill(-pid_, SIGKILL);
  // A grandchild outside the group could keep the socket open.
  shutdown(socket_, SHUT_RDWR);
}

std::shared_ptr<void> ChildProcess::TakeSlot() {
  std::unique_lock<std::mutex> lock(slots_->mutex);
  slots_->freed.wait(lock,
                     [this] { return slots_->free > 0 || slots_->closed; });
  if (slots_->closed) return nullptr;
  --slots_->free;
  return std::shared_ptr<void>(slots_.get(), [slots = slots_](void*) {
    std::lock_guard<std::mutex> lock(slots->mutex);
    ++slots->free;
    slots->freed.notify_all();
  });
}

bool ChildProcess::ReadFully(absl::Span<uint8_t> out) {
  for (size_t done = 0; done < out.size();) {
    const ssize_t got = recv(socket_, out.data() + done, out.size() - done, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    done += static_cast<size_t>(got);
  }
  return true;
}

absl::StatusOr<Bytes> ChildProcess::ReadFrame() {
  uint8_t header[4];
  if (!ReadFully(absl::MakeSpan(header))) return absl::UnavailableError("");
  const uint32_t size = uint32_t{header[0]} | uint32_t{header[1]} << 8 |
                        uint32_t{header[2]} << 16 | uint32_t{header[3]} << 24;
  if (size > kFrameBytesMax) {
    return absl::DataLossError(absl::StrCat("the trainer announced a frame of ",
                                            size, " bytes, at most ",
                                            kFrameBytesMax, " are taken"));
  }
  Bytes frame(size);
  if (!ReadFully(absl::MakeSpan(frame))) return absl::UnavailableError("");
  return frame;
}

void ChildProcess::Read(const OnFrame& on_frame, const OnEnd& on_end) {
  absl::Status broken;
  for (;;) {
    std::shared_ptr<void> slot = TakeSlot();
    if (slot == nullptr) break;
    absl::StatusOr<Bytes> frame = ReadFrame();
    if (!frame.ok()) {
      broken = frame.status();
      break;
    }
    on_frame(Frame{*std::move(frame), std::move(slot)});
  }
  Kill();  // it may have closed the socket only
  const std::string end = Reap();
  if (absl::IsDataLoss(broken)) return on_end(broken);
  on_end(absl::UnavailableError(absl::StrCat("the trainer ", end)));
}

std::string ChildProcess::Reap() {
  // Waits without taking, so that Kill never signals a number that is free.
  siginfo_t info = {};
  while (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) < 0 &&
         errno == EINTR) {
  }
  std::lock_guard<std::mutex> lock(mutex_);
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  reaped_ = true;
  if (WIFSIGNALED(status)) {
    return absl::StrCat("was killed by signal ", WTERMSIG(status), " (",
                        strsignal(WTERMSIG(status)), ")");
  }
  return absl::StrCat("exited with status ", WEXITSTATUS(status));
}

}  // namespace fedgraft
