#include "client/agent/task_runner.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/agent/agent_state.h"
#include "client/agent/task_check.h"
#include "common/base/check.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/protocol/seal_suite.h"
#include "common/shift/remedies.h"

namespace fedgraft {

TaskRunner::TaskRunner(AgentPorts ports, const AgentOptions& options,
                       AgentKeys keys, Background& background,
                       BlobFetcher& fetcher, ConfiguredTrainer& trainer,
                       const SecureTasks& secure)
    : ports_(ports),
      options_(options),
      background_(background),
      fetcher_(fetcher),
      trainer_(trainer),
      secure_(secure),
      sealer_(std::make_shared<UpdateSealer>(options.site, keys.signing_key,
                                             ports.random, ports.files)),
      ledger_(
          std::make_shared<BudgetLedger>(ports.files, options.policy.budget)),
      sketches_(std::make_shared<SketchSumsReader>()) {}

void TaskRunner::Run(std::shared_ptr<const RunContext> run, Task task,
                     Progress progress, Reply<FinishedTask> reply) {
  FG_CHECK(reply_ == nullptr);
  run_ = std::move(run);
  task_ = std::move(task);
  progress_ = std::move(progress);
  reply_ = std::move(reply);
  cancelled_ = false;
  charge_.reset();
  absl::Status valid = CheckTask(*run_, task_);
  if (!valid.ok()) return Answer(std::move(valid));
  FindFinished();
}

void TaskRunner::Cancel() {
  if (reply_ == nullptr) return;
  cancelled_ = true;
  // Otherwise the executor is at work: its end is awaited, so that no two
  // seals write one file.
  if (fetching_) fetcher_.Abort();
  if (training_) trainer_.Cancel();
}

UploadHeader TaskRunner::HeaderOfTask() const {
  UploadHeader header;
  header.run = task_.run;
  header.round = task_.round;
  header.kind = task_.kind;
  header.plan_hash = task_.plan_hash;
  header.base_model = task_.model;
  header.secure_attempt = task_.secure.attempt;
  header.suite = ChooseSuite(HasAesInstructions(),
                             run_->descriptor.takes_chacha20_poly1305);
  return header;
}

bool TaskRunner::IsOfTask(const UploadHeader& header) const {
  return header.run == task_.run && header.round == task_.round &&
         header.kind == task_.kind && header.plan_hash == task_.plan_hash &&
         header.base_model == task_.model &&
         header.secure_attempt == task_.secure.attempt;
}

void TaskRunner::FindFinished() {
  const std::string path = run_->files.UpdatePath(task_.kind);
  const auto known = finished_.find(path);
  if (known == finished_.end()) {
    // Once after a restart; later the file is what was sealed here.
    return background_.Run(
        [&files = ports_.files, path] { return LoadSealedUpdate(files, path); },
        guard_([this, path](const absl::StatusOr<SealedUpdate>& loaded) {
          if (!loaded.ok() && !absl::IsNotFound(loaded.status())) {
            FG_LOG_WARNING("{}", loaded.status().ToString());
          }
          finished_[path] = loaded.ok() ? std::make_optional(*std::move(loaded))
                                        : std::nullopt;
          FindFinished();
        }));
  }
  if (known->second.has_value() && IsOfTask(known->second->header())) {
    return Answer(FinishedTask{*known->second, /*recovered=*/true, 0, {}});
  }
  PrepareModel();
}

void TaskRunner::PrepareModel() {
  if (cancelled_) return Answer(absl::CancelledError("task was given up"));
  if (work_model_ == task_.model) return PrepareStatistics();
  work_model_.reset();
  if (!task_.model_inline.empty()) {
    absl::Status stored =
        StoreInline(task_.model_inline, task_.model, kWorkModelPath, "model");
    if (!stored.ok()) return Answer(std::move(stored));
    work_model_ = task_.model;
    return PrepareStatistics();
  }
  BlobRequest blob;
  blob.digest = task_.model;
  blob.path = kWorkModelPath;
  blob.size_bytes = task_.model_size_bytes;
  blob.size_bytes_max = options_.blob_size_bytes_max;
  blob.keep = false;
  fetching_ = true;
  fetcher_.Fetch(std::move(blob), guard_([this](absl::StatusOr<Done> fetched) {
                   fetching_ = false;
                   if (!fetched.ok()) {
                     return Answer(std::move(fetched).status());
                   }
                   work_model_ = task_.model;
                   PrepareStatistics();
                 }));
}

void TaskRunner::PrepareStatistics() {
  if (cancelled_) return Answer(absl::CancelledError("task was given up"));
  const std::pair wanted(task_.run, task_.statistics);
  if (task_.statistics_size_bytes == 0 || statistics_ == wanted) return Work();
  if (!task_.statistics_inline.empty() && task_.kind == TaskKind::kSketch) {
    statistics_.reset();
    absl::Status stored = StoreInline(task_.statistics_inline, task_.statistics,
                                      run_->files.SketchPath(), "pooled look");
    if (!stored.ok()) return Answer(std::move(stored));
    statistics_ = wanted;
    return Work();
  }
  BlobRequest blob;
  blob.digest = task_.statistics;
  blob.path = task_.kind == TaskKind::kSketch ? run_->files.SketchPath()
                                              : run_->files.StatisticsPath();
  // The next stage has another sketch.
  blob.keep = task_.kind != TaskKind::kSketch;
  blob.size_bytes = task_.statistics_size_bytes;
  blob.size_bytes_max = options_.blob_size_bytes_max;
  fetching_ = true;
  fetcher_.Fetch(std::move(blob),
                 guard_([this, wanted](absl::StatusOr<Done> fetched) {
                   fetching_ = false;
                   if (!fetched.ok()) {
                     return Answer(Annotate(fetched.status(), "statistics"));
                   }
                   statistics_ = wanted;
                   Work();
                 }));
}

absl::Status TaskRunner::StoreInline(ByteSpan content, const Digest& digest,
                                     const std::string& path,
                                     absl::string_view what) {
  if (Sha256(content) != digest) {
    return absl::DataLossError(
        absl::StrCat(what, " of round ", task_.round.value,
                     " does not have its digest ", digest.Short()));
  }
  FG_ASSIGN_OR_RETURN(const auto file,
                      ports_.files.OpenOverwrite(path, content.size()));
  return file->Append(content);
}

void TaskRunner::Work() {
  const bool is_private =
      run_->plan.differential_privacy.kind != DifferentialPrivacy::kNone;
  if (task_.kind == TaskKind::kTrain && is_private && !charge_.has_value()) {
    return Charge();
  }
  training_ = true;
  switch (task_.kind) {
    case TaskKind::kTrain:
      return Train();
    case TaskKind::kEvaluate:
      return Evaluate();
    case TaskKind::kSolve:
      return Solve();
    case TaskKind::kGather:
      return Gather();
    case TaskKind::kSketch:
      return Sketch();
  }
}

void TaskRunner::Charge() {
  auto charge = [ledger = ledger_, run = run_,
                 round = task_.round]() -> absl::StatusOr<PrivacyCharge> {
    FG_ASSIGN_OR_RETURN(
        const ReleaseCost cost,
        CostOfRound(run->plan, run->train_samples, run->layout->Count(),
                    Observer::kAggregator));
    return ledger->Charge(run->descriptor.run, round, cost);
  };
  background_.Run(
      std::move(charge), guard_([this](absl::StatusOr<PrivacyCharge> charged) {
        if (!charged.ok()) return Answer(std::move(charged).status());
        if (cancelled_)
          return Answer(absl::CancelledError("task was given up"));
        charge_ = *std::move(charged);
        AuditEvent event;
        event.event = "privacy_charge";
        event.run = task_.run;
        event.round = task_.round;
        event.detail = absl::StrCat(
            "data set ", options_.policy.budget.data_set, ": epsilon ",
            charge_->epsilon(), " at delta ", options_.policy.budget.delta);
        FG_LOG_INFO("round {}: {}", task_.round.value, event.detail);
        const absl::Status recorded = ports_.audit.Record(event);
        if (!recorded.ok()) return Answer(recorded);
        Work();
      }));
}

absl::Status TaskRunner::RemoveWork(const char* path) {
  const absl::Status removed = ports_.files.Remove(path);
  return absl::IsNotFound(removed) ? absl::OkStatus() : removed;
}

void TaskRunner::Train() {
  progress_(AgentState::kTraining, 0);
  absl::Status ready = RemoveWork(kWorkDeltaPath);
  if (ready.ok()) ready = NoteRemedy();
  if (!ready.ok()) return Answer(ready);
  TrainRequest request;
  request.remedy = task_.remedy;
  request.round = task_.training_round;
  request.counted_round = task_.counted_round;
  request.compared_look = task_.compared_look;
  request.model_path = kWorkModelPath;
  request.delta_path = kWorkDeltaPath;
  if (task_.statistics_size_bytes > 0) {
    request.statistics_path = run_->files.StatisticsPath();
  }
  trainer_.Train(std::move(request), guard_([this](float fraction) {
                   if (training_) progress_(AgentState::kTraining, fraction);
                 }),
                 guard_([this](absl::StatusOr<TrainResult> result) {
                   training_ = false;
                   if (!result.ok()) return Answer(result.status());
                   SealTrained(*result);
                 }));
}

absl::Status TaskRunner::NoteRemedy() {
  if (task_.remedy == remedy_) return absl::OkStatus();
  AuditEvent event;
  event.event = "remedy";
  event.run = task_.run;
  event.round = task_.round;
  event.detail =
      task_.remedy == SiteRemedy::kNone
          ? absl::StrCat(std::string(SiteRemedyName(remedy_)), " end")
          : absl::StrCat(
                "this site differs from the others: its training "
                "takes ",
                std::string(SiteRemedyName(task_.remedy)));
  FG_LOG_INFO("round {}: {}", task_.round.value, event.detail);
  FG_RETURN_IF_ERROR(ports_.audit.Record(event));
  remedy_ = task_.remedy;
  return absl::OkStatus();
}

void TaskRunner::Evaluate() {
  progress_(AgentState::kEvaluating, 0);
  EvaluateRequest request;
  request.round = task_.training_round;
  request.model_path = kWorkModelPath;
  request.split = *ParseSplit(task_.split);
  request.compare_local = task_.compare_local;
  request.initial_model_path = run_->files.InitialModelPath();
  trainer_.Evaluate(std::move(request), guard_([this](float fraction) {
                      if (training_) {
                        progress_(AgentState::kEvaluating, fraction);
                      }
                    }),
                    guard_([this](absl::StatusOr<EvaluateResult> result) {
                      training_ = false;
                      if (!result.ok()) return Answer(result.status());
                      SealEvaluated(*std::move(result));
                    }));
}

void TaskRunner::Solve() {
  progress_(AgentState::kTraining, 0);
  const absl::Status removed = RemoveWork(kWorkSumsPath);
  if (!removed.ok()) return Answer(removed);
  SolveRequest request;
  request.point_path = kWorkModelPath;
  request.sums_path = kWorkSumsPath;
  trainer_.Solve(std::move(request), guard_([this](float fraction) {
                   if (training_) progress_(AgentState::kTraining, fraction);
                 }),
                 guard_([this](absl::StatusOr<SolveResult> result) {
                   training_ = false;
                   if (!result.ok()) return Answer(result.status());
                   SealSolved(*result);
                 }));
}

void TaskRunner::Gather() {
  progress_(AgentState::kTraining, 0);
  const absl::Status removed = RemoveWork(kWorkSumsPath);
  if (!removed.ok()) return Answer(removed);
  GatherRequest request;
  request.model_path = kWorkModelPath;
  request.sums_path = kWorkSumsPath;
  trainer_.Gather(std::move(request), guard_([this](float fraction) {
                    if (training_) progress_(AgentState::kTraining, fraction);
                  }),
                  guard_([this](absl::StatusOr<GatherResult> result) {
                    training_ = false;
                    if (!result.ok()) return Answer(result.status());
                    SealGathered(*result);
                  }));
}

void TaskRunner::Sketch() {
  progress_(AgentState::kTraining, 0);
  const absl::Status removed = RemoveWork(kWorkSumsPath);
  if (!removed.ok()) return Answer(removed);
  SketchRequest request;
  request.round = task_.training_round;
  request.model_path = kWorkModelPath;
  request.sums_path = kWorkSumsPath;
  if (task_.statistics_size_bytes > 0) {
    request.pooled_path = run_->files.SketchPath();
  }
  trainer_.Sketch(std::move(request), guard_([this](float fraction) {
                    if (training_) progress_(AgentState::kTraining, fraction);
                  }),
                  guard_([this](absl::StatusOr<SketchResult> result) {
                    training_ = false;
                    if (!result.ok()) return Answer(result.status());
                    SealSketched(*std::move(result));
                  }));
}

void TaskRunner::Answer(absl::StatusOr<FinishedTask> answer) {
  training_ = false;
  std::exchange(reply_, nullptr)(std::move(answer));
}

}  // namespace fedgraft
