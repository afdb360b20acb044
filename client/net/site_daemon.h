#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/agent/agent.h"
#include "proto/config.pb.h"

namespace fedgraft {

struct SiteDaemonOptions {
  pb::ClientConfig config;
  bool exit_when_finished = false;
  // Where the trainer is, if the config does not say: beside this program.
  std::string default_trainer;
};

// A hospital's daemon in one object: production ports, gRPC link, trainer
// process, audit log and agent. Start returns once the agent is under way; the
// destructor stops everything. Thread-safe.
class SiteDaemon {
 public:
  // REQUIRES: SetUpGrpc() was called before any use of gRPC.
  // FAILED_PRECONDITION naming the step that is missing (enrol, install).
  // `ended` runs once, on a thread of the daemon, if the agent ends by itself.
  static absl::StatusOr<std::unique_ptr<SiteDaemon>> Start(
      const SiteDaemonOptions& options,
      std::function<void(absl::Status)> ended);
  ~SiteDaemon();

  AgentSnapshot Snapshot() const;

 private:
  class Impl;
  explicit SiteDaemon(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fedgraft
