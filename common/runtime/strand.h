#pragma once

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

// The Scheduler of production: one thread of its own.
//
// Life cycle: the thread starts in the constructor. Stop() (or the destructor)
// lets the piece of work that is running finish and DROPS everything else,
// posted work and timers: their closures are destroyed, not run, on the
// thread that called Stop. What is posted later is dropped as well. So to shut
// down: stop what posts from outside, Stop() the strand, then destroy the
// objects that its work refers to, then the strand.
//
// Order: posted work runs in the order of the Post calls; a timer joins the
// same queue when it is due, timers with one deadline in the order of their
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
  TimerId After(absl::Duration delay, std::function<void()> work) override;
  void Cancel(TimerId timer) override;

  // Returns when the thread has ended. May be called again.
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
  // Moves due timers to the queue.
  void QueueDueTimers() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  TimerId last_timer_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<Item> queue_ ABSL_GUARDED_BY(mutex_);
  std::map<std::pair<Deadline, TimerId>, std::function<void()>> timers_
      ABSL_GUARDED_BY(mutex_);
  std::map<TimerId, Deadline> deadlines_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
  const std::thread::id thread_id_;
};

}  // namespace fedgraft
