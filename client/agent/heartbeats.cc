#include "client/agent/heartbeats.h"

#include <algorithm>
#include <utility>

namespace fedgraft {
namespace {

// Whatever the aggregator asks for, no more often than this.
constexpr absl::Duration kIntervalMin = absl::Milliseconds(100);

}  // namespace

void Heartbeats::Start(const Task& task, std::function<void()> cancelled) {
  Stop();
  heartbeat_ = Heartbeat{task.run, task.round, task.kind, 0};
  interval_ = std::max(task.progress_timeout / 4, kIntervalMin);
  cancelled_ = std::move(cancelled);
  Schedule();
}

void Heartbeats::Stop() {
  guard_.Invalidate();
  under_way_ = false;
  cancelled_ = nullptr;
  if (timer_ != 0) ports_.strand.Cancel(std::exchange(timer_, 0));
}

void Heartbeats::Schedule() {
  timer_ = ports_.strand.After(interval_, guard_([this] {
                                 timer_ = 0;
                                 if (!under_way_) Send();
                                 Schedule();
                               }));
}

void Heartbeats::Send() {
  under_way_ = true;
  ports_.link.SendHeartbeat(
      heartbeat_, guard_([this](const absl::StatusOr<bool>& cancel) {
        under_way_ = false;
        if (cancel.ok() && *cancel && cancelled_ != nullptr) {
          std::exchange(cancelled_, nullptr)();
        }
      }));
}

}  // namespace fedgraft
