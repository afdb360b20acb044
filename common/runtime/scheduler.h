#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "absl/time/time.h"

namespace fedgraft {

using TimerId = uint64_t;

// Port: the strand. Everything handed to one Scheduler runs one at a time, in
// order; the coordinator and an agent each live on one. Thread-safe.
class Scheduler {
 public:
  virtual ~Scheduler() = default;
  virtual void Post(std::function<void()> work) = 0;
  // Like Post, for a caller that holds no lock and has nothing else to do: if
  // the strand is idle, the caller's thread may be the strand for the moment
  // and run `work` before Dispatch returns, which saves waking another thread.
  virtual void Dispatch(std::function<void()> work) { Post(std::move(work)); }
  // Runs `work` on the strand after `delay`. Never returns 0.
  virtual TimerId After(absl::Duration delay, std::function<void()> work) = 0;
  // No effect if it already ran. After Cancel called on the strand returns,
  // the work will not run.
  virtual void Cancel(TimerId timer) = 0;
};

}  // namespace fedgraft
