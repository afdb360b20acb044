#include "common/runtime/thread_pool.h"

#include <algorithm>
#include <utility>

namespace fedgraft {
namespace {

// The pool whose worker this thread is.
thread_local const ThreadPool* pool_of_thread = nullptr;

int WorkerCount(int wanted) {
  if (wanted >= 1) return wanted;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

ThreadPool::ThreadPool(int workers) : workers_(WorkerCount(workers)) {
  threads_.reserve(static_cast<size_t>(workers_));
  for (int i = 0; i < workers_; ++i) {
    threads_.emplace_back([this] { Loop(); });
  }
}

ThreadPool::~ThreadPool() { Stop(); }

void ThreadPool::Run(std::function<void()> work) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    queue_.push_back(std::move(work));
    if (pool_of_thread == this && queue_.size() == 1) return;
  }
  wake_.notify_one();
}

void ThreadPool::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void ThreadPool::Loop() {
  pool_of_thread = this;
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return stopping_ || !queue_.empty();
    });
    if (queue_.empty()) return;
    std::function<void()> work = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    work();
    work = nullptr;
    lock.lock();
  }
}

}  // namespace fedgraft
