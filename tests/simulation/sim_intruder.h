#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/round/round_world.h"
#include "tests/simulation/sim_network.h"
#include "tests/support/event_loop.h"
#include "tests/support/sim_random.h"

namespace fedgraft::testing {

// A member of the federation with a valid certificate and no good will: joins,
// takes tasks, and sends garbage, flipped bits, other sites' bytes, and updates
// that are signed and sealed well but wrong inside. None may ever count, nor
// hurt anyone else.
class SimIntruder {
 public:
  SimIntruder(EventLoop* loop, SimNetwork* network, SimRandom random,
              ParameterLayout layout);

  void Start() { Act(); }
  void Stop() { stopped_ = true; }
  const SiteId& id() const { return identity_.id(); }

 private:
  void Act();
  void Call(Method method, std::string request);
  void Flood();
  void Join();
  void TakeTask();
  void SendMutant();
  void SendBadUpdate();
  void SubmitBytes(UploadHeader header, Bytes sealed);
  Bytes BadPayload(const Plan& plan);

  EventLoop& loop_;
  SimNetwork& network_;
  SimRandom random_;
  const TestSite identity_;
  const ParameterLayout layout_;
  bool stopped_ = false;
  std::optional<RunDescriptor> run_;
  std::optional<Task> task_;
};

}  // namespace fedgraft::testing
