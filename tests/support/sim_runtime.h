#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <set>

#include "common/runtime/clock.h"
#include "common/runtime/executor.h"
#include "common/runtime/scheduler.h"
#include "tests/support/event_loop.h"
#include "tests/support/sim_random.h"

namespace fedgraft::testing {

// The Clock on an EventLoop. Wall time runs along, from 2024-01-01.
class SimClock : public Clock {
 public:
  explicit SimClock(const EventLoop* loop) : loop_(*loop) {}
  absl::Time Monotonic() const override { return loop_.now(); }
  absl::Time Wall() const override;

 private:
  const EventLoop& loop_;
};

// A strand on an EventLoop. Each posted piece of work is an event of its own;
// the order of posts is kept even when the loop breaks ties at random.
//
// Kill() is the crash of the process that the strand stands for: nothing that
// was posted or scheduled runs any more, and later posts are dropped. The
// destructor does the same. Single-threaded; the loop must outlive it.
class SimScheduler : public Scheduler {
 public:
  explicit SimScheduler(EventLoop* loop) : loop_(*loop) {}
  ~SimScheduler() override { Kill(); }
  SimScheduler(const SimScheduler&) = delete;
  SimScheduler& operator=(const SimScheduler&) = delete;

  void Post(std::function<void()> work) override;
  TimerId After(absl::Duration delay, std::function<void()> work) override;
  void Cancel(TimerId timer) override;
  void Kill();

 private:
  EventLoop& loop_;
  bool killed_ = false;
  std::deque<std::function<void()>> posted_;
  std::set<EventLoop::EventId> events_;
};

// Runs work at once, inside Run.
class InlineExecutor : public Executor {
 public:
  explicit InlineExecutor(int workers = 1) : workers_(workers) {}
  void Run(std::function<void()> work) override { work(); }
  int Workers() const override { return workers_; }

 private:
  const int workers_;
};

// Runs each piece of work as one event after a seeded delay, so that pieces
// overtake each other: a pool with slow disks behind it. Kill() as above.
class SimExecutor : public Executor {
 public:
  struct Options {
    int workers = 2;
    absl::Duration delay_min = absl::Microseconds(10);
    absl::Duration delay_max = absl::Milliseconds(2);
  };
  SimExecutor(EventLoop* loop, uint64_t seed)
      : SimExecutor(loop, seed, Options()) {}
  SimExecutor(EventLoop* loop, uint64_t seed, Options options)
      : loop_(*loop), random_(seed), options_(options) {}
  ~SimExecutor() override { Kill(); }
  SimExecutor(const SimExecutor&) = delete;
  SimExecutor& operator=(const SimExecutor&) = delete;

  void Run(std::function<void()> work) override;
  int Workers() const override { return options_.workers; }
  void SetDelays(absl::Duration min, absl::Duration max);
  void Kill();

 private:
  EventLoop& loop_;
  SimRandom random_;
  Options options_;
  bool killed_ = false;
  std::set<EventLoop::EventId> events_;
};

}  // namespace fedgraft::testing
