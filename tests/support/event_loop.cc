#include "tests/support/event_loop.h"

#include <algorithm>

namespace fedgraft::testing {

EventLoop::EventId EventLoop::Schedule(absl::Duration delay,
                                       std::function<void()> event) {
  const EventId id = ++last_id_;
  const Key key{now_ + std::max(delay, absl::ZeroDuration()),
                ties_ ? ties_->Next() : 0, id};
  events_.emplace(key, std::move(event));
  keys_.emplace(id, key);
  return id;
}

void EventLoop::Cancel(EventId id) {
  const auto found = keys_.find(id);
  if (found == keys_.end()) return;
  // Extracted first: the closure's destructor may come back to this loop.
  const auto event = events_.extract(found->second);
  keys_.erase(found);
}

bool EventLoop::RunOne() {
  if (events_.empty()) return false;
  auto event = events_.extract(events_.begin());
  keys_.erase(event.key().id);
  now_ = event.key().time;
  ++events_run_;
  Trace(static_cast<uint64_t>(absl::ToUnixNanos(now_)));
  event.mapped()();
  event.mapped() = nullptr;
  if (after_event_) after_event_();
  return true;
}

void EventLoop::RunUntil(absl::Time end) {
  while (!events_.empty() && events_.begin()->first.time <= end) {
    RunOne();
  }
  now_ = std::max(now_, end);
}

bool EventLoop::RunUntilTrue(const std::function<bool()>& condition,
                             absl::Duration limit) {
  const absl::Time end = now_ + limit;
  while (!condition()) {
    if (events_.empty() || events_.begin()->first.time > end) {
      return false;
    }
    RunOne();
  }
  return true;
}

bool EventLoop::RunUntilIdle(uint64_t events_max) {
  for (uint64_t i = 0; i < events_max; ++i) {
    if (!RunOne()) return true;
  }
  return events_.empty();
}

void EventLoop::Trace(std::string_view what) {
  for (const char c : what) {
    trace_hash_ = (trace_hash_ ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  }
  Trace(what.size());
}

void EventLoop::Trace(uint64_t value) {
  // A whole word per step, mixed so that high bits reach low ones.
  trace_hash_ = (trace_hash_ ^ value) * 0x9e3779b97f4a7c15;
  trace_hash_ ^= trace_hash_ >> 29;
}

}  // namespace fedgraft::testing
