#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/net/grpc/tls.h"
#include "proto/admin.grpc.pb.h"

namespace fedgraft {

// An operator's connection to the Admin service. Blocking calls; not
// thread-safe.
class AdminClient {
 public:
  // `files`: the operator's key and certificate. Calls answer UNAVAILABLE if
  // nobody listens or no aggregator of this federation does.
  static std::unique_ptr<AdminClient> Connect(const std::string& address,
                                              const TlsFiles& files,
                                              const std::string& federation);

  absl::StatusOr<pb::StartRunReply> StartRun(ByteSpan plan,
                                             const std::string& backbone_path);
  absl::Status StopRun(const std::string& run, const std::string& reason);
  absl::Status PauseRun(const std::string& run, bool paused);
  absl::StatusOr<pb::StatusReply> Status(bool history);
  // Calls `update` for every status until it returns false (OK) or the
  // connection ends.
  absl::Status Watch(const std::function<bool(const pb::StatusReply&)>& update);

 private:
  explicit AdminClient(std::unique_ptr<pb::Admin::Stub> stub)
      : stub_(std::move(stub)) {}
  std::unique_ptr<pb::Admin::Stub> stub_;
};

}  // namespace fedgraft
