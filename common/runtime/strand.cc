#include "common/runtime/strand.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/base/check.h"

namespace fedgraft {
namespace {

// Far enough for every use, and far from overflowing the clock's type.
constexpr absl::Duration kDelayMax = absl::Hours(24 * 365 * 10);

}  // namespace

ThreadStrand::ThreadStrand() : thread_([this] { Loop(); }) {}

ThreadStrand::~ThreadStrand() { Stop(); }

void ThreadStrand::Post(std::function<void()> work) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    queue_.push_back({0, std::move(work)});
    // Not asleep: it has work already.
    if (running_ || queue_.size() > 1) return;
  }
  wake_.notify_all();
}

void ThreadStrand::Dispatch(std::function<void()> work) {
  std::unique_lock lock(mutex_);
  if (stopping_) return;
  queue_.push_back({0, std::move(work)});
  if (running_) return;
  running_ = true;
  for (int i = 0; i < kDispatchedMax && !queue_.empty() && !stopping_; ++i) {
    RunFirst(lock);
  }
  running_ = false;
  const bool wake = std::exchange(wanted_, false) || !queue_.empty();
  lock.unlock();
  if (wake) wake_.notify_all();
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
    timers_.emplace(std::pair(deadline, id), std::move(work));
    deadlines_.emplace(id, deadline);
    if (deadline >= asleep_until_) return id;
  }
  wake_.notify_all();
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
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  decltype(queue_) queue;
  decltype(timers_) timers;
  std::unique_lock lock(mutex_);
  while (running_) {
    wanted_ = true;
    wake_.wait(lock);
  }
  queue.swap(queue_);
  timers.swap(timers_);
  deadlines_.clear();
}

bool ThreadStrand::IsCurrent() const {
  return std::this_thread::get_id() == runner_.load();
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

void ThreadStrand::RunFirst(std::unique_lock<std::mutex>& lock) {
  // One at a time, so that a timer in the queue can be cancelled by the work
  // before it.
  std::function<void()> work = std::move(queue_.front().work);
  queue_.pop_front();
  lock.unlock();
  runner_ = std::this_thread::get_id();
  work();
  work = nullptr;
  runner_ = std::thread::id();
  lock.lock();
}

void ThreadStrand::Loop() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (running_) {
      wanted_ = true;
      wake_.wait(lock);
      continue;
    }
    QueueDueTimers();
    if (!queue_.empty()) {
      running_ = true;
      RunFirst(lock);
      running_ = false;
    } else if (timers_.empty()) {
      asleep_until_ = Deadline::max();
      wake_.wait(lock);
      asleep_until_ = Deadline::min();
    } else {
      const Deadline next = timers_.begin()->first.first;
      asleep_until_ = next;
      wake_.wait_until(lock, next);
      asleep_until_ = Deadline::min();
    }
  }
}

}  // namespace fedgraft
