#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/runtime/executor.h"

namespace fedgraft {

// The Executor of production: a fixed number of threads and one queue, first
// come, first served. Work that a worker hands over is taken up by that worker
// when it is done with what it does, unless more is waiting: nobody is woken
// for a chain of steps.
//
// Life cycle: the threads start in the constructor. Stop() (or the destructor)
// runs everything that was queued before it, then ends the threads; what is
// handed over later is dropped. Work must not throw. Long work hands itself
// over again in steps, so that short work (a log commit) is not kept waiting.
// The queue has no limit of its own: whoever hands over work on behalf of the
// outside limits what is in flight.
//
// Thread-safe; Stop() must not be called by a worker.
class ThreadPool : public Executor {
 public:
  // `workers` < 1: one per core.
  explicit ThreadPool(int workers);
  ~ThreadPool() override;
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  void Run(std::function<void()> work) override;
  int Workers() const override { return workers_; }
  void Stop();

 private:
  void Loop();

  const int workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

}  // namespace fedgraft
