#include "client/agent/agent.h"

#include <algorithm>
#include <set>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/agent/agent_state.h"
#include "client/agent/background.h"
#include "client/agent/blob_fetcher.h"
#include "client/agent/callback_guard.h"
#include "client/agent/configured_trainer.h"
#include "client/agent/run_finisher.h"
#include "client/agent/run_setup.h"
#include "client/agent/task_attempts.h"
#include "client/agent/task_delivery.h"
#include "common/base/check.h"
#include "common/base/logging.h"
#include "common/config/plan_checks_secure.h"
#include "common/protocol/roster_capability.h"

namespace fedgraft {
namespace {

// "Nothing yet" sooner than this, again and again, must not become a hot loop.
constexpr absl::Duration kEarlyAnswer = absl::Milliseconds(50);
constexpr size_t kToldMax = 100;

}  // namespace

// The state machine. One thing is under way at a time: a call to the
// aggregator, a preparation, a task, an upload, or a pause.
class Agent::Impl {
 public:
  Impl(AgentPorts ports, AgentOptions options, AgentKeys keys,
       AggregatorKeyOf aggregator_key)
      : ports_(ports),
        options_(std::move(options)),
        background_(ports.executor, ports.strand),
        fetcher_(ports, background_, options_.backoff),
        trainer_(ports.trainer),
        setup_(ports, options_, std::move(aggregator_key), background_,
               fetcher_, trainer_),
        delivery_(ports, options_, keys, background_, fetcher_, trainer_),
        finisher_(ports, fetcher_, options_.blob_size_bytes_max),
        reconnect_(ports.random, options_.backoff),
        retry_(ports.random, options_.backoff),
        idle_(ports.random, {options_.idle_poll, options_.idle_poll * 4}) {
    fetcher_.SetProgress([this] { Changed(); });
  }

  void Start(std::function<void(absl::Status)> ended) {
    FG_CHECK(state_ == AgentState::kStopped);
    ended_ = std::move(ended);
    last_run_ = ReadLastRun(ports_.files);
    if (last_run_.has_value() &&
        ReadFinishedRun(ports_.files, *last_run_).ok()) {
      last_run_.reset();
    }
    Join();
  }
  void Stop(std::function<void()> done);
  AgentSnapshot Snapshot() const;
  void SetListener(std::function<void()> changed) {
    changed_ = std::move(changed);
  }

 private:
  void Join();
  void OnJoined(const absl::StatusOr<JoinReply>& reply);
  void AwaitRun();
  void OnAwaited(absl::Time asked, const absl::StatusOr<NextTaskReply>& reply);
  bool IsFinished(const RunId& run);
  void Prepare(const RunDescriptor& descriptor);
  void OnPrepared(absl::StatusOr<PreparedRun> prepared);
  void RefuseRun(const RunId& run, const absl::Status& status);

  void Poll();
  void OnNext(absl::Time asked, absl::StatusOr<NextTaskReply> reply);
  void OnTask(Task task);
  void DecideMasks(bool masked);
  void TellMasks();
  void OnDelivered(const absl::StatusOr<DeliveredTask>& delivered);
  void OnTaskFailed(const absl::Status& status);
  void Report(SiteReport report);
  void FinishRun(const RunFinished& finished);
  void OnFinished(const RunFinished& finished, const absl::Status& status);

  // Goes on with `next` after a pause.
  void Pause(Backoff& backoff, void (Impl::*next)());
  void Rejoin(const absl::Status& why, Backoff& backoff);
  void End(absl::Status outcome);
  void Enter(AgentState state);
  void Note(const absl::Status& error);
  // Records what does not leave bytes; such a record may fail.
  void AuditOutcome(AuditEvent event);
  void Changed() {
    if (changed_) changed_();
  }

  AgentPorts ports_;
  AgentOptions options_;
  Background background_;
  BlobFetcher fetcher_;
  ConfiguredTrainer trainer_;
  RunSetup setup_;
  TaskDelivery delivery_;
  RunFinisher finisher_;
  Backoff reconnect_;
  Backoff retry_;  // of a run or task that failed here
  Backoff idle_;
  CallbackGuard guard_;
  std::function<void(absl::Status)> ended_;
  std::function<void()> changed_;
  TimerId pause_timer_ = 0;

  AgentState state_ = AgentState::kStopped;
  std::shared_ptr<const RunContext> run_;  // prepared
  // Taken part in, not finished here: it may have ended meanwhile.
  std::optional<RunId> last_run_;
  std::optional<RunId> closed_run_;  // finished or refused here
  absl::Status closed_status_;
  Task task_;
  TaskAttempts attempts_;
  std::set<std::string> told_;  // failures of this run that were logged
  AgentSnapshot snapshot_;
};

void Agent::Impl::Stop(std::function<void()> done) {
  if (state_ != AgentState::kStopped) {
    guard_.Invalidate();
    if (pause_timer_ != 0) ports_.strand.Cancel(pause_timer_);
    setup_.Abandon();
    delivery_.Abort();
    fetcher_.Abort();
    trainer_.Cancel();
    ended_ = nullptr;
    Enter(AgentState::kStopped);
  }
  background_.WhenIdle(std::move(done));
}

void Agent::Impl::Join() {
  Enter(AgentState::kJoining);
  JoinRequest request;
  request.software_version = options_.software_version;
  if (options_.pinned_roster) {
    const absl::StatusOr<Roster> roster = options_.pinned_roster();
    if (roster.ok() && roster->keys.contains(options_.site)) {
      request.capabilities.push_back(RosterCapability(roster->Hash()));
    }
  }
  ports_.link.Join(std::move(request),
                   guard_([this](const absl::StatusOr<JoinReply>& reply) {
                     OnJoined(reply);
                   }));
}

void Agent::Impl::OnJoined(const absl::StatusOr<JoinReply>& reply) {
  snapshot_.connected = reply.ok();
  if (reply.ok() && reply->federation != options_.federation) {
    return Rejoin(absl::FailedPreconditionError(absl::StrCat(
                      "the aggregator is of federation '", reply->federation,
                      "', this site of '", options_.federation, "'")),
                  reconnect_);
  }
  if (!reply.ok()) return Rejoin(reply.status(), reconnect_);
  reconnect_.Reset();
  if (!reply->run.has_value()) return AwaitRun();
  const RunDescriptor& run = *reply->run;
  if (closed_run_ == run.run || IsFinished(run.run)) {
    if (options_.exit_when_finished) return End(closed_status_);
    Enter(closed_status_.ok() ? AgentState::kFinished : AgentState::kRefused);
    return Pause(idle_, &Impl::Join);
  }
  idle_.Reset();
  if (run_ != nullptr && run_->descriptor.run == run.run &&
      run_->descriptor.plan_hash == run.plan_hash) {
    last_run_ = run.run;
    return Poll();
  }
  Prepare(run);
}

void Agent::Impl::AwaitRun() {
  Enter(AgentState::kIdle);
  // Of the last run the aggregator says how it ended; without one the call
  // waits until a run opens.
  ports_.link.NextTask(
      NextTaskRequest{last_run_.value_or(RunId{}), options_.poll},
      guard_([this, asked = ports_.clock.Monotonic()](
                 const absl::StatusOr<NextTaskReply>& reply) {
        OnAwaited(asked, reply);
      }));
}

void Agent::Impl::OnAwaited(absl::Time asked,
                            const absl::StatusOr<NextTaskReply>& reply) {
  if (!reply.ok()) return Rejoin(reply.status(), reconnect_);
  if (const auto* finished = std::get_if<RunFinished>(&*reply);
      finished != nullptr && last_run_ == finished->run) {
    return FinishRun(*finished);
  }
  if (std::holds_alternative<fedgraft::Rejoin>(*reply)) last_run_.reset();
  if (ports_.clock.Monotonic() - asked < kEarlyAnswer) {
    return Pause(idle_, &Impl::Join);
  }
  Join();
}

bool Agent::Impl::IsFinished(const RunId& run) {
  const auto finished = ReadFinishedRun(ports_.files, run);
  if (!finished.ok()) return false;
  closed_run_ = run;
  closed_status_ = absl::OkStatus();
  snapshot_.run = run;
  snapshot_.final_model = finished->model;
  return true;
}

void Agent::Impl::Prepare(const RunDescriptor& descriptor) {
  run_ = nullptr;
  told_.clear();
  snapshot_.run = descriptor.run;
  snapshot_.round = RoundId{};
  snapshot_.contributions = 0;
  snapshot_.final_model.reset();
  Enter(AgentState::kPreparing);
  setup_.Prepare(descriptor, guard_([this, run = descriptor.run](
                                        absl::StatusOr<PreparedRun> prepared) {
                   if (RunSetup::IsFinal(prepared.status())) {
                     return RefuseRun(run, prepared.status());
                   }
                   OnPrepared(std::move(prepared));
                 }));
}

void Agent::Impl::OnPrepared(absl::StatusOr<PreparedRun> prepared) {
  if (!prepared.ok()) return Rejoin(prepared.status(), retry_);
  AuditEvent event;
  event.event = "join";
  event.run = prepared->context->descriptor.run;
  event.digest = prepared->context->plan.hash;
  const Plan& plan = prepared->context->plan;
  event.detail = "plan " + plan.name;
  if (plan.shift.devices) {
    event.detail += options_.policy.share_devices
                        ? "; its sketches count this site's scanners"
                        : "; this site's scanners are not told";
  }
  absl::Status recorded = ports_.audit.Record(event);
  if (recorded.ok()) recorded = WriteLastRun(ports_.files, event.run);
  if (!recorded.ok()) return Rejoin(recorded, retry_);
  run_ = prepared->context;
  last_run_ = event.run;
  snapshot_.plan_name = run_->plan.name;
  snapshot_.rounds = static_cast<uint32_t>(run_->plan.rounds);
  snapshot_.train_samples = prepared->trainer.train_samples;
  snapshot_.device = prepared->trainer.device;
  FG_LOG_INFO("run {}: {} training images, {}", run_->descriptor.run.value,
              snapshot_.train_samples, snapshot_.device);
  if (!run_->masks_undecided) TellMasks();
  Poll();
}

void Agent::Impl::RefuseRun(const RunId& run, const absl::Status& status) {
  Note(status);
  AuditEvent event;
  event.event = "run_refused";
  event.run = run;
  event.detail = std::string(status.message());
  AuditOutcome(std::move(event));
  closed_run_ = run;
  closed_status_ = status;
  Enter(AgentState::kRefused);
  if (options_.exit_when_finished) return End(status);
  Pause(idle_, &Impl::Join);
}

void Agent::Impl::Poll() {
  Enter(AgentState::kWaiting);
  ports_.link.NextTask(NextTaskRequest{run_->descriptor.run, options_.poll},
                       guard_([this, asked = ports_.clock.Monotonic()](
                                  absl::StatusOr<NextTaskReply> reply) {
                         OnNext(asked, std::move(reply));
                       }));
}

void Agent::Impl::OnNext(absl::Time asked,
                         absl::StatusOr<NextTaskReply> reply) {
  snapshot_.connected = reply.ok();
  if (!reply.ok()) return Rejoin(reply.status(), reconnect_);
  if (auto* task = std::get_if<Task>(&*reply)) return OnTask(std::move(*task));
  if (const auto* finished = std::get_if<RunFinished>(&*reply)) {
    return FinishRun(*finished);
  }
  const bool wait = std::holds_alternative<WaitMore>(*reply);
  const bool early = ports_.clock.Monotonic() - asked < kEarlyAnswer;
  if (early) return Pause(reconnect_, wait ? &Impl::Poll : &Impl::Join);
  reconnect_.Reset();
  wait ? Poll() : Join();
}

void Agent::Impl::OnTask(Task task) {
  task_ = std::move(task);
  // Offered again until its round closes.
  if (attempts_.IsSkipped(task_)) return Pause(retry_, &Impl::Poll);
  snapshot_.round = task_.round;
  if (run_->masks_undecided) {
    DecideMasks(task_.secure.step != SecureStep::kNone);
  }
  delivery_.Run(run_, task_, guard_([this](AgentState stage, float fraction) {
                  snapshot_.progress = fraction;
                  Enter(stage);
                }),
                guard_([this](const absl::StatusOr<DeliveredTask>& delivered) {
                  OnDelivered(delivered);
                }));
}

void Agent::Impl::DecideMasks(bool masked) {
  auto decided = std::make_shared<RunContext>(*run_);
  decided->masks_undecided = false;
  decided->plan.secure_aggregation.is_on = masked;
  run_ = std::move(decided);
  TellMasks();
}

void Agent::Impl::TellMasks() {
  const std::string& run = run_->descriptor.run.value;
  const SecureAggregationSpec& secure = run_->plan.secure_aggregation;
  if (secure.is_on) {
    return FG_LOG_INFO("run {}: updates of this site are masked", run);
  }
  const std::string never = WhyNeverMasked(run_->plan);
  AuditEvent event;
  event.event = "unmasked";
  event.run = run_->descriptor.run;
  event.detail = absl::StrCat(
      "updates are NOT masked, the aggregator opens each of them: ",
      secure.mode == SecureMode::kOff ? "the plan says mode off"
      : !never.empty()                ? absl::StrCat("the plan has ", never)
                       : "the aggregator found too few sites with a roster "
                         "pinned; this site demands no masks");
  FG_LOG_WARNING("run {}: {}", run, event.detail);
  AuditOutcome(std::move(event));
}

void Agent::Impl::OnDelivered(const absl::StatusOr<DeliveredTask>& delivered) {
  if (!delivered.ok()) return OnTaskFailed(delivered.status());
  reconnect_.Reset();
  retry_.Reset();
  attempts_.Succeeded();
  snapshot_.last_error.clear();
  if (!task_.secure.AsksUpdate()) return Poll();
  if (task_.kind == TaskKind::kTrain) {
    ++snapshot_.contributions;
    snapshot_.loss = delivered->loss;
  }
  // Asked for at once; what is left to do of this task is done meanwhile.
  SiteReport report;
  report.run = task_.run;
  report.round = task_.round;
  report.scalars = FilterScalars(options_.policy, delivered->scalars);
  Poll();
  if (!report.scalars.empty()) Report(std::move(report));
}

void Agent::Impl::OnTaskFailed(const absl::Status& status) {
  if (absl::IsCancelled(status)) return Pause(retry_, &Impl::Poll);
  if (attempts_.Failed(task_, status)) return Rejoin(status, retry_);
  // The same again, as in every attempt at a sum, is said once a run.
  if (told_.size() == kToldMax) told_.clear();
  if (told_.insert(status.ToString()).second) {
    Note(status);
    FG_LOG_ERROR("round {}: this site skips the {} task", task_.round.value,
                 TaskKindName(task_.kind));
  }
  snapshot_.last_error = status.ToString();
  AuditEvent event;
  const auto refusal = RefusalOf(status);
  event.event = refusal.has_value() ? "refused" : "task_failed";
  event.run = task_.run;
  event.round = task_.round;
  event.detail = absl::StrCat(
      TaskKindName(task_.kind), ": ",
      refusal.has_value() ? std::string(RefusalName(*refusal)) + ": " : "",
      std::string(status.message()));
  AuditOutcome(std::move(event));
  Poll();  // there may be another task by now
  // This site's policy, not the aggregator: it shall know whom not to await.
  if (absl::IsPermissionDenied(status) && !refusal.has_value()) {
    SiteReport report;
    report.run = task_.run;
    report.round = task_.round;
    report.declined = std::string(status.message());
    Report(std::move(report));
  }
}

void Agent::Impl::Report(SiteReport report) {
  AuditEvent event;
  event.event = "report";
  event.run = report.run;
  event.round = report.round;
  event.bytes = report.scalars.size() * sizeof(double);
  event.detail = absl::StrJoin(
      report.scalars, " ",
      [](std::string* out, const auto& scalar) { out->append(scalar.first); });
  const absl::Status recorded = ports_.audit.Record(event);
  if (!recorded.ok()) return Note(recorded);
  ports_.link.Report(std::move(report),
                     guard_([this](const absl::StatusOr<Done>& reported) {
                       if (!reported.ok()) Note(reported.status());
                     }));
}

void Agent::Impl::FinishRun(const RunFinished& finished) {
  if (finished.run != last_run_) {
    return Rejoin(absl::FailedPreconditionError(absl::StrCat(
                      "the aggregator finished run ", finished.run.value,
                      ", this site takes part in ", last_run_->value)),
                  retry_);
  }
  snapshot_.run = finished.run;
  Enter(AgentState::kFinishing);
  finisher_.Finish(finished,
                   guard_([this, finished](const absl::StatusOr<Done>& done) {
                     OnFinished(finished, done.status());
                   }));
}

void Agent::Impl::OnFinished(const RunFinished& finished,
                             const absl::Status& status) {
  // Disk full or connection lost: asked for again, from where it stopped.
  if (!status.ok() && !RunSetup::IsFinal(status)) {
    return Rejoin(status, retry_);
  }
  closed_run_ = finished.run;
  closed_status_ = status;
  if (!status.ok()) {
    Note(status);
  } else {
    snapshot_.final_model = finished.model;
    FG_LOG_INFO("run {} {} after {} rounds: model {}", finished.run.value,
                finished.stopped ? "was stopped" : "is finished",
                finished.rounds, finished.model.Short());
  }
  AuditEvent event;
  event.event = "run_finished";
  event.run = finished.run;
  event.round = RoundId{finished.rounds};
  event.digest = finished.model;
  event.detail = std::string(status.message());
  AuditOutcome(std::move(event));
  run_ = nullptr;
  last_run_.reset();
  retry_.Reset();
  Enter(status.ok() ? AgentState::kFinished : AgentState::kRefused);
  if (options_.exit_when_finished) return End(status);
  Pause(idle_, &Impl::Join);
}

void Agent::Impl::Pause(Backoff& backoff, void (Impl::*next)()) {
  pause_timer_ = ports_.strand.After(backoff.Next(), guard_([this, next] {
                                       pause_timer_ = 0;
                                       (this->*next)();
                                     }));
}

void Agent::Impl::Rejoin(const absl::Status& why, Backoff& backoff) {
  Note(why);
  Enter(AgentState::kJoining);
  Pause(backoff, &Impl::Join);
}

void Agent::Impl::End(absl::Status outcome) {
  const auto ended = std::exchange(ended_, nullptr);
  Stop([] {});
  if (ended) ended(std::move(outcome));
}

void Agent::Impl::Enter(AgentState state) {
  state_ = state;
  Changed();
}

void Agent::Impl::Note(const absl::Status& error) {
  const std::string text = error.ToString();
  // The same error again and again is said once.
  if (text != snapshot_.last_error) FG_LOG_WARNING("{}", text);
  snapshot_.last_error = text;
}

void Agent::Impl::AuditOutcome(AuditEvent event) {
  const absl::Status recorded = ports_.audit.Record(event);
  if (!recorded.ok()) Note(recorded);
}

AgentSnapshot Agent::Impl::Snapshot() const {
  AgentSnapshot snapshot = snapshot_;
  snapshot.state = state_;
  snapshot.bytes_sent = delivery_.bytes_sent();
  snapshot.bytes_received = fetcher_.bytes_received();
  return snapshot;
}

Agent::Agent(AgentPorts ports, AgentOptions options, AgentKeys keys,
             AggregatorKeyOf aggregator_key)
    : impl_(std::make_unique<Impl>(ports, std::move(options), keys,
                                   std::move(aggregator_key))) {}
Agent::~Agent() = default;

void Agent::Start(std::function<void(absl::Status)> ended) {
  impl_->Start(std::move(ended));
}
void Agent::Stop(std::function<void()> done) { impl_->Stop(std::move(done)); }
AgentSnapshot Agent::Snapshot() const { return impl_->Snapshot(); }
void Agent::SetListener(std::function<void()> changed) {
  impl_->SetListener(std::move(changed));
}

}  // namespace fedgraft
