#include "client/agent/trainer_process.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "proto/trainer.pb.h"

namespace fedgraft {
namespace {

constexpr size_t kMessageMax = 2048;

absl::Status Broke(const std::string& what) {
  return absl::DataLossError(
      absl::StrCat("the trainer broke its protocol: ", what));
}

const char* SplitName(Split split) {
  switch (split) {
    case Split::kTrain:
      return "train";
    case Split::kVal:
      return "val";
    case Split::kTest:
      return "test";
  }
  return "";
}

// The trainer's own error. Codes that this side gives a meaning of its own
// (CANCELLED: this side asked) become INTERNAL.
absl::Status ErrorOf(const pb::TrainerError& error) {
  std::string message = error.message().substr(0, kMessageMax);
  std::replace_if(
      message.begin(), message.end(),
      [](unsigned char c) { return c < 0x20 && c != '\n'; }, '?');
  auto code = static_cast<absl::StatusCode>(error.code());
  if (error.code() < 1 || error.code() > 16 ||
      code == absl::StatusCode::kCancelled) {
    code = absl::StatusCode::kInternal;
  }
  return absl::Status(code, message);
}

absl::StatusOr<TrainerReady> Convert(const pb::TrainerReply& reply,
                                     TrainerReady*) {
  if (!reply.has_configured()) return Broke("no answer to configure");
  const pb::TrainerConfigured& wire = reply.configured();
  TrainerReady ready;
  ready.train_samples = wire.train_samples();
  ready.val_samples = wire.val_samples();
  ready.test_samples = wire.test_samples();
  FG_ASSIGN_OR_RETURN(ready.layout, Digest::FromWire(wire.layout_digest()));
  ready.device = wire.device().substr(0, 64);
  return ready;
}

absl::StatusOr<TrainResult> Convert(const pb::TrainerReply& reply,
                                    TrainResult*) {
  if (!reply.has_trained()) return Broke("no answer to train");
  const pb::TrainerTrained& wire = reply.trained();
  if (wire.scalars_size() > TrainerProcess::kScalarsMax) {
    return Broke(absl::StrCat(wire.scalars_size(), " scalars of training"));
  }
  TrainResult result{wire.samples(), wire.loss(), wire.seconds()};
  result.has_news = wire.has_news();
  result.scalars.insert(wire.scalars().begin(), wire.scalars().end());
  return result;
}

absl::StatusOr<SolveResult> Convert(const pb::TrainerReply& reply,
                                    SolveResult*) {
  if (!reply.has_solved()) return Broke("no answer to solve");
  return SolveResult{reply.solved().samples()};
}

absl::StatusOr<GatherResult> Convert(const pb::TrainerReply& reply,
                                     GatherResult*) {
  if (!reply.has_gathered()) return Broke("no answer to gather");
  return GatherResult{reply.gathered().samples()};
}

absl::StatusOr<SketchResult> Convert(const pb::TrainerReply& reply,
                                     SketchResult*) {
  if (!reply.has_sketched()) return Broke("no answer to sketch");
  const pb::TrainerSketched& wire = reply.sketched();
  if (wire.scalars_size() > TrainerProcess::kScalarsMax) {
    return Broke(absl::StrCat(wire.scalars_size(), " scalars of a sketch"));
  }
  SketchResult result{wire.samples(), {}};
  result.scalars.insert(wire.scalars().begin(), wire.scalars().end());
  return result;
}

absl::StatusOr<EvaluateResult> Convert(const pb::TrainerReply& reply,
                                       EvaluateResult*) {
  if (!reply.has_evaluated()) return Broke("no answer to evaluate");
  const pb::TrainerEvaluated& wire = reply.evaluated();
  if (wire.sums_size() > TrainerProcess::kSumsMax ||
      wire.scalars_size() > TrainerProcess::kScalarsMax) {
    return Broke(absl::StrCat(wire.sums_size(), " sums and ",
                              wire.scalars_size(), " scalars"));
  }
  EvaluateResult result;
  result.sums.assign(wire.sums().begin(), wire.sums().end());
  for (size_t i = 0; i < result.sums.size(); ++i) {
    if (!std::isfinite(result.sums[i])) {
      return Broke(absl::StrCat("sum ", i, " is not finite"));
    }
  }
  for (const auto& [name, value] : wire.scalars()) {
    if (!std::isfinite(value)) return Broke("a scalar is not finite");
    result.scalars.emplace(name, value);
  }
  return result;
}

}  // namespace

template <typename T>
void TrainerProcess::Ask(pb::TrainerRequest& request, Progress progress,
                         Reply<T> reply) {
  Call call;
  call.progress = std::move(progress);
  call.accept = [reply](const pb::TrainerReply& wire) -> absl::Status {
    FG_ASSIGN_OR_RETURN(T result, Convert(wire, static_cast<T*>(nullptr)));
    reply(std::move(result));
    return absl::OkStatus();
  };
  call.fail = [reply](absl::Status status) { reply(std::move(status)); };
  Send(request, std::move(call));
}

absl::Status FillTrainerOptions(const pb::ClientConfig& config,
                                TrainerProcessOptions& options) {
  options.data = config.data();
  options.compute = config.compute();
  options.share_devices = config.policy().share_devices();
  options.memory_bytes_max = static_cast<uint64_t>(std::max<int64_t>(
                                 0, config.trainer().memory_max_mib()))
                             << 20;
  const std::string& timeout = config.trainer().progress_timeout();
  if (timeout.empty()) return absl::OkStatus();
  if (!absl::ParseDuration(timeout, &options.progress_timeout) ||
      !(options.progress_timeout > absl::ZeroDuration())) {
    return absl::InvalidArgumentError(
        absl::StrCat("trainer.progress_timeout: '", timeout,
                     "' is not a duration above 0, such as 10m"));
  }
  return absl::OkStatus();
}

TrainerProcess::TrainerProcess(TrainerProcessOptions options, Scheduler& strand,
                               const Clock& clock)
    : options_(std::move(options)), strand_(strand), clock_(clock) {}

TrainerProcess::~TrainerProcess() { StopChild(); }

std::string TrainerProcess::FullPath(const std::string& path) const {
  return absl::StrCat(options_.files_root, "/", path);
}

void TrainerProcess::Configure(TrainerSetup setup, Reply<TrainerReady> reply) {
  configured_ = false;
  const std::string state_dir = FullPath(setup.state_folder);
  std::error_code error;
  std::filesystem::create_directories(state_dir, error);
  if (error) {
    return reply(absl::ErrnoToStatus(
        error.value(), absl::StrCat("cannot make folder ", state_dir)));
  }
  if (child_ == nullptr) {
    absl::Status started = StartChild();
    if (!started.ok()) return reply(std::move(started));
  }
  pb::TrainerRequest request;
  pb::TrainerConfigure& wire = *request.mutable_configure();
  wire.set_plan(std::string(AsText(setup.plan)));
  wire.set_run_id(setup.run.value);
  *wire.mutable_data() = options_.data;
  *wire.mutable_compute() = options_.compute;
  if (!setup.backbone_path.empty()) {
    wire.set_backbone_path(FullPath(setup.backbone_path));
  }
  wire.set_state_dir(state_dir);
  *wire.mutable_cache() = options_.cache.config;
  wire.set_cache_dir(options_.cache.folder);
  wire.set_share_devices(options_.share_devices);
  Ask<TrainerReady>(
      request, nullptr,
      [this, reply = std::move(reply)](absl::StatusOr<TrainerReady> ready) {
        configured_ = ready.ok();
        reply(std::move(ready));
      });
}

void TrainerProcess::Train(TrainRequest request, Progress progress,
                           Reply<TrainResult> reply) {
  pb::TrainerRequest message;
  pb::TrainerTrain& wire = *message.mutable_train();
  wire.set_round(request.round.value);
  wire.set_model_path(FullPath(request.model_path));
  wire.set_delta_path(FullPath(request.delta_path));
  if (!request.statistics_path.empty()) {
    wire.set_statistics_path(FullPath(request.statistics_path));
  }
  wire.set_remedy(static_cast<pb::SiteRemedy>(request.remedy));
  wire.set_counted_round(request.counted_round.value);
  if (request.compared_look != Digest()) {
    wire.set_compared_look(request.compared_look.AsWire());
  }
  Ask(message, std::move(progress), std::move(reply));
}

void TrainerProcess::Evaluate(EvaluateRequest request, Progress progress,
                              Reply<EvaluateResult> reply) {
  pb::TrainerRequest message;
  pb::TrainerEvaluate& wire = *message.mutable_evaluate();
  wire.set_round(request.round.value);
  wire.set_model_path(FullPath(request.model_path));
  wire.set_split(SplitName(request.split));
  wire.set_compare_local(request.compare_local);
  wire.set_initial_model_path(FullPath(request.initial_model_path));
  Ask(message, std::move(progress), std::move(reply));
}

void TrainerProcess::Solve(SolveRequest request, Progress progress,
                           Reply<SolveResult> reply) {
  pb::TrainerRequest message;
  pb::TrainerSolve& wire = *message.mutable_solve();
  wire.set_point_path(FullPath(request.point_path));
  wire.set_sums_path(FullPath(request.sums_path));
  Ask(message, std::move(progress), std::move(reply));
}

void TrainerProcess::Gather(GatherRequest request, Progress progress,
                            Reply<GatherResult> reply) {
  pb::TrainerRequest message;
  pb::TrainerGather& wire = *message.mutable_gather();
  wire.set_model_path(FullPath(request.model_path));
  wire.set_sums_path(FullPath(request.sums_path));
  Ask(message, std::move(progress), std::move(reply));
}

void TrainerProcess::Sketch(SketchRequest request, Progress progress,
                            Reply<SketchResult> reply) {
  pb::TrainerRequest message;
  pb::TrainerSketch& wire = *message.mutable_sketch();
  wire.set_round(request.round.value);
  wire.set_model_path(FullPath(request.model_path));
  if (!request.pooled_path.empty()) {
    wire.set_pooled_path(FullPath(request.pooled_path));
  }
  wire.set_sums_path(FullPath(request.sums_path));
  Ask(message, std::move(progress), std::move(reply));
}

void TrainerProcess::Cancel() {
  if (call_ == nullptr) return;
  StopChild();
  // Not inside the caller's call.
  strand_.Post(guard_([call = std::shared_ptr<Call>(std::move(call_))] {
    call->fail(absl::CancelledError("the trainer was stopped"));
  }));
}

absl::Status TrainerProcess::StartChild() {
  child_guard_.Invalidate();
  auto on_frame = child_guard_(
      [this](const ChildProcess::Frame& frame) { OnFrame(frame.bytes); });
  auto on_end = child_guard_([this](const absl::Status& end) {
    FG_LOG_WARNING("{}", end.ToString());
    StopChild();
    Fail(end);
  });
  FG_ASSIGN_OR_RETURN(
      child_,
      ChildProcess::Start(
          {options_.binary, options_.arguments, options_.memory_bytes_max},
          [&strand = strand_, on_frame](ChildProcess::Frame frame) {
            strand.Post([on_frame, frame = std::move(frame)]() mutable {
              on_frame(frame);
            });
          },
          [&strand = strand_, on_end](const absl::Status& end) {
            strand.Post([on_end, end]() mutable { on_end(end); });
          }));
  return absl::OkStatus();
}

void TrainerProcess::StopChild() {
  child_guard_.Invalidate();
  child_.reset();
  configured_ = false;
  if (watch_timer_ != 0) strand_.Cancel(std::exchange(watch_timer_, 0));
}

void TrainerProcess::Send(pb::TrainerRequest& request, Call call) {
  FG_CHECK(call_ == nullptr);
  call_ = std::make_unique<Call>(std::move(call));
  if (child_ == nullptr || (!configured_ && !request.has_configure())) {
    return Fail(absl::UnavailableError(
        "the trainer is not running: configure it first"));
  }
  call_->id = ++last_id_;
  call_->last_progress = clock_.Monotonic();
  request.set_id(call_->id);
  const absl::Status sent = child_->Send(AsBytes(request.SerializeAsString()));
  if (!sent.ok()) {
    StopChild();
    return Fail(sent);
  }
  Watch();
}

void TrainerProcess::OnFrame(const Bytes& bytes) {
  pb::TrainerReply reply;
  absl::Status handled;
  if (bytes.size() > ChildProcess::kFrameBytesMax ||
      !reply.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    handled = Broke("a frame that is no reply");
  } else {
    handled = HandleReply(reply);
  }
  if (handled.ok()) return;
  FG_LOG_ERROR("{}; it is killed", handled.ToString());
  StopChild();
  Fail(std::move(handled));
}

absl::Status TrainerProcess::HandleReply(const pb::TrainerReply& reply) {
  if (call_ == nullptr) return Broke("a reply without a request");
  if (reply.id() != call_->id) {
    return Broke(absl::StrCat("a reply to request ", reply.id(),
                              ", expected to ", call_->id));
  }
  if (reply.has_progress()) {
    call_->last_progress = clock_.Monotonic();
    const float fraction = reply.progress().fraction();
    if (!std::isfinite(fraction)) return Broke("progress is not finite");
    if (call_->progress) call_->progress(std::clamp(fraction, 0.0f, 1.0f));
    return absl::OkStatus();
  }
  // Taken out first: the receiver may make the next call.
  const std::unique_ptr<Call> call = std::move(call_);
  if (watch_timer_ != 0) strand_.Cancel(std::exchange(watch_timer_, 0));
  if (reply.has_error()) {
    call->fail(ErrorOf(reply.error()));
    return absl::OkStatus();
  }
  const absl::Status accepted = call->accept(reply);
  if (accepted.ok()) return accepted;
  FG_LOG_ERROR("{}; it is killed", accepted.ToString());
  StopChild();
  call->fail(accepted);
  return absl::OkStatus();
}

void TrainerProcess::Fail(absl::Status status) {
  if (call_ == nullptr) return;
  const std::unique_ptr<Call> call = std::move(call_);
  call->fail(std::move(status));
}

void TrainerProcess::Watch() {
  const absl::Duration left =
      call_->last_progress + options_.progress_timeout - clock_.Monotonic();
  if (left > absl::ZeroDuration()) {
    watch_timer_ = strand_.After(left, guard_([this] {
                                   watch_timer_ = 0;
                                   Watch();
                                 }));
    return;
  }
  FG_LOG_ERROR("the trainer made no progress for {}; it is killed",
               absl::FormatDuration(options_.progress_timeout));
  StopChild();
  Fail(absl::UnavailableError(absl::StrCat(
      "the trainer made no progress for ",
      absl::FormatDuration(options_.progress_timeout), " and was killed")));
}

}  // namespace fedgraft
