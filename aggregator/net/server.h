#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/config.pb.h"

namespace fedgraft {

// The aggregator daemon in one object: production ports, coordinator, the two
// gRPC services, and the timer that reads the allow-list again every second.
// Start returns once both ports listen; the destructor stops everything.
// Thread-safe.
class AggregatorServer {
 public:
  // REQUIRES: SetUpGrpc() was called before any use of gRPC. Errors name
  // the file or address: FAILED_PRECONDITION (no PKI, wrapping key readable by
  // others), UNAVAILABLE (port in use), DATA_LOSS (damaged log) …
  static absl::StatusOr<std::unique_ptr<AggregatorServer>> Start(
      const pb::AggregatorConfig& config);
  ~AggregatorServer();

  // The ports listened on (chosen by the system where the config says 0).
  int port() const;
  int admin_port() const;

 private:
  class Impl;
  explicit AggregatorServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fedgraft
