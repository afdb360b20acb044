#pragma once

#include <functional>

#include "absl/time/time.h"
#include "client/agent/agent_ports.h"
#include "client/agent/callback_guard.h"
#include "common/protocol/messages.h"

namespace fedgraft {

// Tells the aggregator that a task is alive, four times per progress timeout,
// with at most one heartbeat under way. A heartbeat that is lost is not sent
// again: the next one says more. Single-strand.
class Heartbeats {
 public:
  explicit Heartbeats(AgentPorts ports) : ports_(ports) {}

  // `cancelled` runs at most once, if the aggregator no longer wants the task.
  void Start(const Task& task, std::function<void()> cancelled);
  void SetProgress(float progress) { heartbeat_.progress = progress; }
  void Stop();

 private:
  void Schedule();
  void Send();

  AgentPorts ports_;
  CallbackGuard guard_;
  Heartbeat heartbeat_;
  absl::Duration interval_;
  std::function<void()> cancelled_;
  bool under_way_ = false;
  TimerId timer_ = 0;
};

}  // namespace fedgraft
