#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/bytes.h"

namespace fedgraft {

struct ChildOptions {
  std::string binary;
  std::vector<std::string> arguments;
  uint64_t memory_bytes_max = 0;  // of address space; 0: no limit
};

// A child process that speaks frames (u32 little-endian size, then bytes) over
// a socket pair, on its file descriptor 3. It inherits standard output and
// error and no other descriptor, a reduced environment, its own process group;
// it leaves no core file (which would hold images) and dies with the thread
// that started it.
//
// Nothing that the child does harms this process: what it sends is limited in
// size and in how much of it waits to be looked at.
class ChildProcess {
 public:
  // A longer frame ends the child.
  static constexpr uint32_t kFrameBytesMax = uint32_t{64} << 20;
  // So many frames wait for the receiver, then the child is made to wait.
  static constexpr int kFramesWaitingMax = 8;

  // A frame; its slot is free again when `slot` is destroyed.
  struct Frame {
    Bytes bytes;
    std::shared_ptr<void> slot;
  };
  using OnFrame = std::function<void(Frame)>;
  // Says how it ended: "exited with status 1", "was killed by signal 9 …".
  // DATA_LOSS: it broke the framing and was killed; UNAVAILABLE otherwise.
  using OnEnd = std::function<void(absl::Status)>;

  // Callbacks run on a thread of the object, `on_end` once and last, and must
  // not destroy it. NOT_FOUND, PERMISSION_DENIED …: the binary cannot be run.
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(
      const ChildOptions& options, OnFrame on_frame, OnEnd on_end);
  // Kills it and waits for it.
  ~ChildProcess();

  // UNAVAILABLE: it does not read, or is gone.
  absl::Status Send(ByteSpan payload);
  // Kills its process group. OnEnd follows.
  void Kill();

 private:
  ChildProcess(pid_t pid, int socket) : pid_(pid), socket_(socket) {}
  void Read(const OnFrame& on_frame, const OnEnd& on_end);
  absl::StatusOr<Bytes> ReadFrame();
  bool ReadFully(absl::Span<uint8_t> out);
  // nullptr once the child is to end.
  std::shared_ptr<void> TakeSlot();
  std::string Reap();

  const pid_t pid_;
  const int socket_;
  std::mutex mutex_;
  bool reaped_ ABSL_GUARDED_BY(mutex_) = false;
  // Shared with the slots, which may outlive the object.
  struct Slots;
  std::shared_ptr<Slots> slots_;
  std::thread reader_;
};

}  // namespace fedgraft
