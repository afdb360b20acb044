#include "aggregator/net/admin_service.h"

#include <memory>
#include <utility>

#include "aggregator/net/status_codec.h"
#include "common/base/logging.h"
#include "common/config/plan_loader.h"
#include "common/net/grpc/status_bridge.h"

namespace fedgraft {
namespace {

Reply<Done> Answer(grpc::ServerUnaryReactor* reactor) {
  return [reactor](absl::StatusOr<Done> done) {
    reactor->Finish(ToGrpc(done.status()));
  };
}

// A watch that is refused.
class RefusedWatch final : public grpc::ServerWriteReactor<pb::StatusReply> {
 public:
  explicit RefusedWatch(const absl::Status& status) { Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};

}  // namespace

AdminService::AdminService(AdminPorts ports, std::string federation,
                           RunModelLoader load_model)
    : ports_(ports),
      federation_(std::move(federation)),
      shift_(ports_.coordinator),
      load_model_(std::move(load_model)),
      watches_(ports.strand,
               [this] { return CurrentStatus(/*with_history=*/true); }) {}

bool AdminService::Authorized(grpc::CallbackServerContext* context,
                              grpc::ServerUnaryReactor* reactor) const {
  const auto id = ports_.authenticator.Operator(*context->auth_context());
  if (!id.ok()) reactor->Finish(ToGrpc(id.status()));
  return id.ok();
}

pb::StatusReply AdminService::CurrentStatus(bool with_history) {
  pb::StatusReply status = StatusToWire(
      federation_, ports_.coordinator.Snapshot(), ports_.coordinator.History(),
      with_history, ports_.clock.Wall());
  for (pb::SiteStatus& site : *status.mutable_sites()) {
    site.set_refusals(ports_.refusals.Of(SiteId{site.site()}));
  }
  if (with_history) shift_.Fill(status);
  return status;
}

grpc::ServerUnaryReactor* AdminService::StartRun(
    grpc::CallbackServerContext* context, const pb::StartRunRequest* request,
    pb::StartRunReply* reply) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (!Authorized(context, reactor)) return reactor;
  auto plan = PlanFromBytes(AsBytes(request->plan()));
  if (!plan.ok()) {
    reactor->Finish(ToGrpc(plan.status()));
    return reactor;
  }
  ports_.executor.Run([this, reactor, reply,
                       shared = std::make_shared<Plan>(*std::move(plan)),
                       path = request->backbone_path()] {
    auto model = load_model_(*shared, path);
    if (!model.ok()) {
      reactor->Finish(ToGrpc(model.status()));
      return;
    }
    auto boxed = std::make_shared<RunModel>(*std::move(model));
    ports_.strand.Post([this, reactor, reply, shared, boxed] {
      ports_.coordinator.StartRun(
          *shared, std::move(*boxed),
          [reactor, reply, shared](absl::StatusOr<RunId> run) {
            if (run.ok()) {
              reply->set_run_id(run->value);
              reply->set_plan_hash(shared->hash.AsWire());
            }
            reactor->Finish(ToGrpc(run.status()));
          });
    });
  });
  return reactor;
}

grpc::ServerUnaryReactor* AdminService::StopRun(
    grpc::CallbackServerContext* context, const pb::StopRunRequest* request,
    pb::AdminReply*) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (!Authorized(context, reactor)) return reactor;
  ports_.strand.Post([this, reactor, request] {
    ports_.coordinator.StopRun(RunId{request->run_id()}, request->reason(),
                               Answer(reactor));
  });
  return reactor;
}

grpc::ServerUnaryReactor* AdminService::PauseRun(
    grpc::CallbackServerContext* context, const pb::PauseRunRequest* request,
    pb::AdminReply*) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (!Authorized(context, reactor)) return reactor;
  ports_.strand.Post([this, reactor, request] {
    ports_.coordinator.PauseRun(RunId{request->run_id()}, request->paused(),
                                Answer(reactor));
  });
  return reactor;
}

grpc::ServerUnaryReactor* AdminService::Status(
    grpc::CallbackServerContext* context, const pb::StatusRequest* request,
    pb::StatusReply* reply) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (!Authorized(context, reactor)) return reactor;
  ports_.strand.Post([this, reactor, reply, history = request->history()] {
    *reply = CurrentStatus(history);
    reactor->Finish(grpc::Status::OK);
  });
  return reactor;
}

grpc::ServerWriteReactor<pb::StatusReply>* AdminService::Watch(
    grpc::CallbackServerContext* context, const pb::StatusRequest*) {
  const auto id = ports_.authenticator.Operator(*context->auth_context());
  if (!id.ok()) return new RefusedWatch(id.status());
  return watches_.Watch();
}

}  // namespace fedgraft
