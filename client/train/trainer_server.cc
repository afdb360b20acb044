#include "client/train/trainer_server.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/data/data_source_factory.h"
#include "client/train/frame.h"
#include "client/train/session.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/config/plan_loader.h"
#include "proto/trainer.pb.h"

namespace fedgraft {
namespace {

// Progress is sent at most this often (a batch can take a millisecond).
constexpr absl::Duration kProgressInterval = absl::Milliseconds(100);

absl::StatusOr<Split> ParseSplit(const std::string& name) {
  if (name == "train") return Split::kTrain;
  if (name == "val") return Split::kVal;
  if (name == "test") return Split::kTest;
  return absl::InvalidArgumentError(
      absl::StrCat("split \"", name, "\": expected train, val or test"));
}

// One connection.
class Server {
 public:
  Server(int fd, const Clock& clock) : fd_(fd), clock_(clock) {}

  absl::Status Serve();

 private:
  absl::Status Send(const pb::TrainerReply& reply);
  absl::Status SendError(uint64_t id, const absl::Status& status);
  // Sends the answer's progress, and remembers that the daemon is gone.
  absl::Status SendProgress(uint64_t id, double fraction,
                            std::string_view stage);
  absl::StatusOr<pb::TrainerReply> Answer(const pb::TrainerRequest& request);
  absl::StatusOr<pb::TrainerConfigured> Configure(
      const pb::TrainerConfigure& request);
  absl::StatusOr<pb::TrainerTrained> Train(const pb::TrainerTrain& request,
                                           const ProgressSink& progress);
  absl::StatusOr<pb::TrainerSolved> Solve(const pb::TrainerSolve& request,
                                          const ProgressSink& progress);
  absl::StatusOr<pb::TrainerSketched> Sketch(const pb::TrainerSketch& request,
                                             const ProgressSink& progress);
  absl::StatusOr<pb::TrainerGathered> Gather(const pb::TrainerGather& request,
                                             const ProgressSink& progress);
  absl::StatusOr<pb::TrainerEvaluated> Evaluate(
      const pb::TrainerEvaluate& request, const ProgressSink& progress);

  const int fd_;
  const Clock& clock_;
  absl::Time last_progress_ = absl::InfinitePast();
  std::unique_ptr<TrainerSession> session_;
};

absl::Status Server::Serve() {
  for (;;) {
    absl::StatusOr<Bytes> frame = ReadFrame(fd_);
    if (absl::IsOutOfRange(frame.status())) return absl::OkStatus();
    if (!frame.ok()) {
      // If the daemon still listens it learns why; the stream is lost anyway.
      (void)SendError(0, frame.status());
      return frame.status();
    }
    pb::TrainerRequest request;
    if (!request.ParseFromArray(frame->data(),
                                static_cast<int>(frame->size()))) {
      FG_RETURN_IF_ERROR(SendError(
          0, absl::InvalidArgumentError("a frame that is not a request")));
      continue;
    }
    absl::StatusOr<pb::TrainerReply> reply = Answer(request);
    if (reply.ok()) {
      reply->set_id(request.id());
      FG_RETURN_IF_ERROR(Send(*reply));
    } else {
      FG_LOG_WARNING("request {}: {}", request.id(), reply.status().ToString());
      FG_RETURN_IF_ERROR(SendError(request.id(), reply.status()));
    }
  }
}

absl::Status Server::Send(const pb::TrainerReply& reply) {
  return WriteFrame(fd_, AsBytes(reply.SerializeAsString()));
}

absl::Status Server::SendError(uint64_t id, const absl::Status& status) {
  pb::TrainerReply reply;
  reply.set_id(id);
  reply.mutable_error()->set_code(static_cast<int>(status.code()));
  reply.mutable_error()->set_message(std::string(status.message()));
  return Send(reply);
}

absl::Status Server::SendProgress(uint64_t id, double fraction,
                                  std::string_view stage) {
  const absl::Time now = clock_.Monotonic();
  if (now - last_progress_ < kProgressInterval) return absl::OkStatus();
  last_progress_ = now;
  pb::TrainerReply reply;
  reply.set_id(id);
  reply.mutable_progress()->set_fraction(static_cast<float>(fraction));
  reply.mutable_progress()->set_stage(std::string(stage));
  return Send(reply);
}

absl::StatusOr<pb::TrainerReply> Server::Answer(
    const pb::TrainerRequest& request) {
  const ProgressSink progress = [&](double fraction, std::string_view stage) {
    return SendProgress(request.id(), fraction, stage);
  };
  last_progress_ = absl::InfinitePast();
  pb::TrainerReply reply;
  switch (request.request_case()) {
    case pb::TrainerRequest::kConfigure: {
      FG_ASSIGN_OR_RETURN(*reply.mutable_configured(),
                          Configure(request.configure()));
      return reply;
    }
    case pb::TrainerRequest::kTrain: {
      FG_ASSIGN_OR_RETURN(*reply.mutable_trained(),
                          Train(request.train(), progress));
      return reply;
    }
    case pb::TrainerRequest::kEvaluate: {
      FG_ASSIGN_OR_RETURN(*reply.mutable_evaluated(),
                          Evaluate(request.evaluate(), progress));
      return reply;
    }
    case pb::TrainerRequest::kSolve: {
      FG_ASSIGN_OR_RETURN(*reply.mutable_solved(),
                          Solve(request.solve(), progress));
      return reply;
    }
    case pb::TrainerRequest::kGather: {
      FG_ASSIGN_OR_RETURN(*reply.mutable_gathered(),
                          Gather(request.gather(), progress));
      return reply;
    }
    case pb::TrainerRequest::kSketch: {
      FG_ASSIGN_OR_RETURN(*reply.mutable_sketched(),
                          Sketch(request.sketch(), progress));
      return reply;
    }
    case pb::TrainerRequest::REQUEST_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(
      "expected configure, train, evaluate, solve, gather or sketch; the "
      "request has none of them");
}

absl::StatusOr<pb::TrainerConfigured> Server::Configure(
    const pb::TrainerConfigure& request) {
  SessionConfig config;
  FG_ASSIGN_OR_RETURN(config.plan, PlanFromBytes(AsBytes(request.plan())));
  FG_ASSIGN_OR_RETURN(
      config.data,
      OpenDataSource(request.data(), {config.plan.classes, DataUse::kTrain}));
  for (const std::string& warning : config.data->Warnings()) {
    FG_LOG_WARNING("data: {}", warning);
  }
  config.compute = {request.compute().device(), request.compute().threads(),
                    request.compute().autocast()};
  config.backbone_path = request.backbone_path();
  config.state_dir = request.state_dir();
  config.share_devices = request.share_devices();
  config.cache.folder = request.cache_dir();
  config.cache.bytes_max = static_cast<uint64_t>(std::max<int64_t>(
                               0, request.cache().size_max_mib()))
                           << 20;
  config.cache.half = request.cache().precision() == "f16";
  if (request.cache().encrypt()) {
    config.cache.key_file = request.cache().key_file();
    if (config.cache.key_file.empty() && !config.cache.folder.empty()) {
      return absl::InvalidArgumentError(
          "the feature cache is to be encrypted, and no key file is named");
    }
  }
  FG_ASSIGN_OR_RETURN(session_,
                      TrainerSession::Create(std::move(config), clock_));
  pb::TrainerConfigured configured;
  configured.set_train_samples(session_->Count(Split::kTrain));
  configured.set_val_samples(session_->Count(Split::kVal));
  configured.set_test_samples(session_->Count(Split::kTest));
  configured.set_layout_digest(session_->layout_digest().AsWire());
  configured.set_device(session_->device());
  return configured;
}

absl::StatusOr<pb::TrainerTrained> Server::Train(
    const pb::TrainerTrain& request, const ProgressSink& progress) {
  if (session_ == nullptr) {
    return absl::FailedPreconditionError("configure before train");
  }
  if (!pb::SiteRemedy_IsValid(request.remedy())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "remedy ", static_cast<int>(request.remedy()), " is not known"));
  }
  FG_ASSIGN_OR_RETURN(
      TrainerSession::Trained trained,
      session_->RunTrain(
          {static_cast<int>(request.round()), request.model_path(),
           request.delta_path(), request.statistics_path(),
           static_cast<SiteRemedy>(request.remedy()),
           static_cast<int>(request.counted_round()), request.compared_look()},
          progress));
  pb::TrainerTrained reply;
  reply.set_samples(trained.samples);
  reply.set_loss(trained.loss);
  reply.set_seconds(trained.seconds);
  reply.mutable_scalars()->insert(trained.scalars.begin(),
                                  trained.scalars.end());
  reply.set_has_news(trained.has_news);
  return reply;
}

absl::StatusOr<pb::TrainerSolved> Server::Solve(const pb::TrainerSolve& request,
                                                const ProgressSink& progress) {
  if (session_ == nullptr) {
    return absl::FailedPreconditionError("configure before solve");
  }
  pb::TrainerSolved reply;
  FG_ASSIGN_OR_RETURN(
      const uint64_t samples,
      session_->RunSolve({request.point_path(), request.sums_path()},
                         progress));
  reply.set_samples(samples);
  return reply;
}

absl::StatusOr<pb::TrainerGathered> Server::Gather(
    const pb::TrainerGather& request, const ProgressSink& progress) {
  if (session_ == nullptr) {
    return absl::FailedPreconditionError("configure before gather");
  }
  pb::TrainerGathered reply;
  FG_ASSIGN_OR_RETURN(
      const uint64_t samples,
      session_->RunGather({request.model_path(), request.sums_path()},
                          progress));
  reply.set_samples(samples);
  return reply;
}

absl::StatusOr<pb::TrainerSketched> Server::Sketch(
    const pb::TrainerSketch& request, const ProgressSink& progress) {
  if (session_ == nullptr) {
    return absl::FailedPreconditionError("configure before sketch");
  }
  FG_ASSIGN_OR_RETURN(
      const TrainerSession::Sketched sketched,
      session_->RunSketch(
          {static_cast<int>(request.round()), request.model_path(),
           request.pooled_path(), request.sums_path()},
          progress));
  pb::TrainerSketched reply;
  reply.set_samples(sketched.samples);
  reply.mutable_scalars()->insert(sketched.scalars.begin(),
                                  sketched.scalars.end());
  return reply;
}

absl::StatusOr<pb::TrainerEvaluated> Server::Evaluate(
    const pb::TrainerEvaluate& request, const ProgressSink& progress) {
  if (session_ == nullptr) {
    return absl::FailedPreconditionError("configure before evaluate");
  }
  FG_ASSIGN_OR_RETURN(Split split, ParseSplit(request.split()));
  FG_ASSIGN_OR_RETURN(
      TrainerSession::Evaluated evaluated,
      session_->RunEvaluate(
          {static_cast<int>(request.round()), request.model_path(), split,
           request.compare_local(), request.initial_model_path()},
          progress));
  pb::TrainerEvaluated reply;
  reply.mutable_sums()->Add(evaluated.sums.begin(), evaluated.sums.end());
  for (const auto& [name, value] : evaluated.scalars) {
    (*reply.mutable_scalars())[name] = value;
  }
  return reply;
}

}  // namespace

absl::Status ServeTrainer(int fd, const Clock& clock) {
  return Server(fd, clock).Serve();
}

}  // namespace fedgraft
