#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "common/runtime/scheduler.h"

namespace fedgraft {

// The Scheduler of production: a thread of its own, for which threads that
// Dispatch stand in while it has nothing to do.
//
// Life cycle: the thread starts in the constructor. Stop() (or the destructor)
// lets the piece of work that is running finish and DROPS everything else,
// posted work and timers: their closures are destroyed, not run, on the
// thread that called Stop. What is posted later is dropped as well. So to shut
// down: stop what posts from outside, Stop() the strand, then destroy the
// objects that its work refers to, then the strand.
//
// Order: work runs in the order of the Post and Dispatch calls; a timer joins
// the same queue when it is due, timers with one deadline in the order of their
// After calls. Timers use the monotonic clock. The queue has no limit of its
// own: whoever posts on behalf of the outside limits what is in flight.
//
// Thread-safe; Stop() must not be called on the strand.
class ThreadStrand : public Scheduler {
 public:
  ThreadStrand();
  ~ThreadStrand() override;
  ThreadStrand(const ThreadStrand&) = delete;
  ThreadStrand& operator=(const ThreadStrand&) = delete;

  void Post(std::function<void()> work) override;
  // Runs at most kDispatchedMax pieces of work, those that were posted before
  // or meanwhile included; the rest is the own thread's.
  static constexpr int kDispatchedMax = 16;
  void Dispatch(std::function<void()> work) override;
  TimerId After(absl::Duration delay, std::function<void()> work) override;
  void Cancel(TimerId timer) override;

  // Returns when no work runs any more. May be called again.
  void Stop();
  // Whether the caller runs on this strand.
  bool IsCurrent() const;

 private:
  using Deadline = std::chrono::steady_clock::time_point;
  struct Item {
    TimerId timer = 0;  // 0: posted
    std::function<void()> work;
  };

  void Loop();
  // Runs the first piece of work, without the lock. REQUIRES: `running_` is
  // the caller's.
  void RunFirst(std::unique_lock<std::mutex>& lock)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Moves due timers to the queue.
  void QueueDueTimers() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // Some thread is the strand; `wanted_`: others wait for it to end that.
  bool running_ ABSL_GUARDED_BY(mutex_) = false;
  bool wanted_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<std::thread::id> runner_{};
  // Until when the own thread sleeps if nothing wakes it.
  Deadline asleep_until_ ABSL_GUARDED_BY(mutex_) = Deadline::min();
  TimerId last_timer_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<Item> queue_ ABSL_GUARDED_BY(mutex_);
  std::map<std::pair<Deadline, TimerId>, std::function<void()>> timers_
      ABSL_GUARDED_BY(mutex_);
  std::map<TimerId, Deadline> deadlines_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace fedgraft
