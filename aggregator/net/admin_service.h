#pragma once

#include <functional>
#include <string>

#include "aggregator/net/peer_authenticator.h"
#include "aggregator/net/refusal_counter.h"
#include "aggregator/net/shift_status.h"
#include "aggregator/net/watch_hub.h"
#include "aggregator/round/coordinator.h"
#include "common/runtime/clock.h"
#include "common/runtime/executor.h"
#include "common/runtime/scheduler.h"
#include "proto/admin.grpc.pb.h"

namespace fedgraft {

// Reads the backbone file that an operator named, stores its bytes by SHA-256
// and derives the run's layout and start. Runs on the executor.
// FAILED_PRECONDITION: the file's SHA-256 is not the plan's.
using RunModelLoader = std::function<absl::StatusOr<RunModel>(
    const Plan& plan, const std::string& backbone_path)>;

struct AdminPorts {
  Coordinator& coordinator;
  Scheduler& strand;
  Executor& executor;
  const Clock& clock;
  const PeerAuthenticator& authenticator;
  const RefusalCounter& refusals;
};

// The operators' gRPC service: its own port, operator certificates only.
class AdminService final : public pb::Admin::CallbackService {
 public:
  AdminService(AdminPorts ports, std::string federation,
               RunModelLoader load_model);

  grpc::ServerUnaryReactor* StartRun(grpc::CallbackServerContext* context,
                                     const pb::StartRunRequest* request,
                                     pb::StartRunReply* reply) override;
  grpc::ServerUnaryReactor* StopRun(grpc::CallbackServerContext* context,
                                    const pb::StopRunRequest* request,
                                    pb::AdminReply* reply) override;
  grpc::ServerUnaryReactor* PauseRun(grpc::CallbackServerContext* context,
                                     const pb::PauseRunRequest* request,
                                     pb::AdminReply* reply) override;
  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext* context,
                                   const pb::StatusRequest* request,
                                   pb::StatusReply* reply) override;
  grpc::ServerWriteReactor<pb::StatusReply>* Watch(
      grpc::CallbackServerContext* context,
      const pb::StatusRequest* request) override;
  // On the strand: what operators are told now.
  pb::StatusReply CurrentStatus(bool with_history);
  // On the strand: something changed.
  void Changed() { watches_.Changed(); }
  // Ends the watches, so that the server can stop.
  void Close() { watches_.Close(); }

 private:
  // False after refusing the call.
  bool Authorized(grpc::CallbackServerContext* context,
                  grpc::ServerUnaryReactor* reactor) const;

  AdminPorts ports_;
  const std::string federation_;
  ShiftStatus shift_;
  RunModelLoader load_model_;
  WatchHub watches_;
};

}  // namespace fedgraft
