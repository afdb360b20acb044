#include "common/runtime/strand.h"

#include <algorithm>
#include <chrono>

#include "common/base/check.h"

namespace fedgraft {
namespace {

// Far enough for every use, and far from overflowing the clock's type.
constexpr absl::Duration kDelayMax = absl::Hours(24 * 365 * 10);

}  // namespace

ThreadStrand::ThreadStrand()
    : thread_([this] { Loop(); }), thread_id_(thread_.get_id()) {}

ThreadStrand::~ThreadStrand() { Stop(); }

void ThreadStrand::Post(std::function<void()> work) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    queue_.push_back({0, std::move(work)});
    if (queue_.size() > 1) return;  // not asleep: it has work already
  }
  wake_.notify_one();
}

TimerId ThreadStrand::After(absl::Duration delay, std::function<void()> work) {
  delay = std::clamp(delay, absl::ZeroDuration(), kDelayMax);
  const Deadline deadline =
      std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(delay);
  TimerId id;
  {
    std::lock_guard lock(mutex_);
    id = ++last_timer_;
    if (stopping_) return id;
    const auto [place, inserted] =
        timers_.emplace(std::pair(deadline, id), std::move(work));
    FG_CHECK(inserted);
    deadlines_.emplace(id, deadline);
    if (place != timers_.begin()) return id;
  }
  wake_.notify_one();
  return id;
}

void ThreadStrand::Cancel(TimerId timer) {
  if (timer == 0) return;
  // Destroyed after the lock is released: a closure's destructor may post.
  std::function<void()> dropped;
  std::lock_guard lock(mutex_);
  if (const auto found = deadlines_.find(timer); found != deadlines_.end()) {
    auto node = timers_.extract({found->second, timer});
    dropped = std::move(node.mapped());
    deadlines_.erase(found);
    return;
  }
  for (auto item = queue_.begin(); item != queue_.end(); ++item) {
    if (item->timer != timer) continue;
    dropped = std::move(item->work);
    queue_.erase(item);
    return;
  }
}

void ThreadStrand::Stop() {
  FG_CHECK(!IsCurrent());
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
  decltype(queue_) queue;
  decltype(timers_) timers;
  std::lock_guard lock(mutex_);
  queue.swap(queue_);
  timers.swap(timers_);
  deadlines_.clear();
}

bool ThreadStrand::IsCurrent() const {
  return std::this_thread::get_id() == thread_id_;
}

void ThreadStrand::QueueDueTimers() {
  if (timers_.empty()) return;
  const Deadline now = std::chrono::steady_clock::now();
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    auto node = timers_.extract(timers_.begin());
    deadlines_.erase(node.key().second);
    queue_.push_back({node.key().second, std::move(node.mapped())});
  }
}

void ThreadStrand::Loop() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    QueueDueTimers();
    if (!queue_.empty()) {
      // One item at a time, so that a timer in the queue can be cancelled by
      // the work before it.
      std::function<void()> work = std::move(queue_.front().work);
      queue_.pop_front();
      lock.unlock();
      work();
      work = nullptr;
      lock.lock();
    } else if (timers_.empty()) {
      wake_.wait(lock);
    } else {
      const Deadline next = timers_.begin()->first.first;
      wake_.wait_until(lock, next);
    }
  }
}

}  // namespace fedgraft
