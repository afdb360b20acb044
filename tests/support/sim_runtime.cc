#include "tests/support/sim_runtime.h"

#include <utility>

#include "common/base/check.h"

namespace fedgraft::testing {
namespace {

// Schedules `work` and keeps its id in `events` until it runs.
EventLoop::EventId ScheduleTracked(EventLoop& loop, absl::Duration delay,
                                   std::set<EventLoop::EventId>& events,
                                   std::function<void()> work) {
  const auto id = std::make_shared<EventLoop::EventId>(0);
  *id = loop.Schedule(delay, [&events, id, work = std::move(work)] {
    // First: the work may destroy the owner of `events`.
    events.erase(*id);
    work();
  });
  events.insert(*id);
  return *id;
}

void CancelAll(EventLoop& loop, std::set<EventLoop::EventId>& events) {
  for (const EventLoop::EventId id : std::exchange(events, {})) {
    loop.Cancel(id);
  }
}

}  // namespace

absl::Time SimClock::Wall() const {
  constexpr int64_t kStartUnixSeconds = 1704067200;
  return absl::FromUnixSeconds(kStartUnixSeconds) +
         (loop_.now() - EventLoop::Start());
}

void SimScheduler::Post(std::function<void()> work) {
  if (killed_) return;
  posted_.push_back(std::move(work));
  ScheduleTracked(loop_, absl::ZeroDuration(), events_, [this] {
    const std::function<void()> next = std::move(posted_.front());
    posted_.pop_front();
    next();
  });
}

TimerId SimScheduler::After(absl::Duration delay, std::function<void()> work) {
  // A killed strand still hands out an id, which no event has.
  if (killed_) return UINT64_MAX;
  return ScheduleTracked(loop_, delay, events_, std::move(work));
}

void SimScheduler::Cancel(TimerId timer) {
  if (events_.erase(timer) > 0) loop_.Cancel(timer);
}

void SimScheduler::Kill() {
  killed_ = true;
  CancelAll(loop_, events_);
  const auto dropped = std::exchange(posted_, {});
}

void SimExecutor::Run(std::function<void()> work) {
  if (killed_) return;
  ScheduleTracked(loop_,
                  random_.Between(options_.delay_min, options_.delay_max),
                  events_, std::move(work));
}

void SimExecutor::SetDelays(absl::Duration min, absl::Duration max) {
  FG_CHECK(min <= max);
  options_.delay_min = min;
  options_.delay_max = max;
}

void SimExecutor::Kill() {
  killed_ = true;
  CancelAll(loop_, events_);
}

}  // namespace fedgraft::testing
