#include "client/agent/task_runner.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/agent/agent_state.h"
#include "common/base/check.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"

namespace fedgraft {
namespace {

absl::StatusOr<Split> ParseSplit(const std::string& name) {
  if (name == "train") return Split::kTrain;
  if (name == "val") return Split::kVal;
  if (name == "test") return Split::kTest;
  return absl::InvalidArgumentError(absl::StrCat(
      "task names split '", name, "', expected train, val or test"));
}

absl::Status Wrong(const Task& task, const std::string& what) {
  return absl::InvalidArgumentError(
      absl::StrCat("task of round ", task.round.value, " ", what));
}

}  // namespace

TaskRunner::TaskRunner(AgentPorts ports, const AgentOptions& options,
                       AgentKeys keys, Background& background,
                       BlobFetcher& fetcher, ConfiguredTrainer& trainer)
    : ports_(ports),
      options_(options),
      background_(background),
      fetcher_(fetcher),
      trainer_(trainer),
      sealer_(std::make_shared<UpdateSealer>(options.site, keys.signing_key,
                                             ports.random, ports.files)) {}

void TaskRunner::Run(std::shared_ptr<const RunContext> run, Task task,
                     Progress progress, Reply<FinishedTask> reply) {
  FG_CHECK(reply_ == nullptr);
  run_ = std::move(run);
  task_ = std::move(task);
  progress_ = std::move(progress);
  reply_ = std::move(reply);
  cancelled_ = false;
  absl::Status valid = CheckTask();
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

absl::Status TaskRunner::CheckTask() const {
  if (task_.run != run_->descriptor.run ||
      task_.plan_hash != run_->descriptor.plan_hash) {
    return Wrong(task_, absl::StrCat("is of run ", task_.run.value, ", plan ",
                                     task_.plan_hash.Short(), "; joined was ",
                                     run_->descriptor.run.value, ", plan ",
                                     run_->descriptor.plan_hash.Short()));
  }
  const Plan& plan = run_->plan;
  const bool solves = plan.solver.kind != SolverKind::kNone;
  const uint32_t rounds = static_cast<uint32_t>(plan.rounds);
  const uint32_t solve_rounds =
      solves ? static_cast<uint32_t>(plan.solver.rounds_max) : 0;
  // An early stop evaluates the chosen model in a round of its own.
  const uint32_t stops = plan.stopping.patience > 0 ? 1 : 0;
  if (task_.training_round.value > rounds ||
      task_.round.value > rounds + solve_rounds + stops ||
      (task_.training_round.value == 0 && task_.kind == TaskKind::kTrain) ||
      (task_.round.value == 0 && task_.kind != TaskKind::kEvaluate)) {
    return Wrong(task_,
                 absl::StrCat("(of training ", task_.training_round.value,
                              ") is not one of the plan's ", rounds,
                              " rounds of training and at most ", solve_rounds,
                              " solve rounds"));
  }
  if (task_.kind == TaskKind::kSolve && !solves) {
    return Wrong(task_, "asks for statistics; the plan has no solver");
  }
  if (!task_.model_inline.empty() &&
      task_.model_inline.size() != task_.model_size_bytes) {
    return Wrong(task_,
                 absl::StrCat("announces a model of ", task_.model_size_bytes,
                              " bytes and has ", task_.model_inline.size()));
  }
  if (task_.kind == TaskKind::kEvaluate) {
    FG_RETURN_IF_ERROR(ParseSplit(task_.split).status());
  }
  return absl::OkStatus();
}

UploadHeader TaskRunner::HeaderOfTask() const {
  UploadHeader header;
  header.run = task_.run;
  header.round = task_.round;
  header.kind = task_.kind;
  header.plan_hash = task_.plan_hash;
  header.base_model = task_.model;
  return header;
}

bool TaskRunner::IsOfTask(const UploadHeader& header) const {
  return header.run == task_.run && header.round == task_.round &&
         header.kind == task_.kind && header.plan_hash == task_.plan_hash &&
         header.base_model == task_.model;
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
  if (work_model_ == task_.model) return Work();
  work_model_.reset();
  if (!task_.model_inline.empty()) {
    absl::Status stored = StoreInlineModel();
    if (!stored.ok()) return Answer(std::move(stored));
    work_model_ = task_.model;
    return Work();
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
                   Work();
                 }));
}

absl::Status TaskRunner::StoreInlineModel() {
  if (Sha256(task_.model_inline) != task_.model) {
    return absl::DataLossError(
        absl::StrCat("model of round ", task_.round.value,
                     " does not have its digest ", task_.model.Short()));
  }
  FG_ASSIGN_OR_RETURN(
      const auto file,
      ports_.files.OpenOverwrite(kWorkModelPath, task_.model_inline.size()));
  return file->Append(task_.model_inline);
}

void TaskRunner::Work() {
  training_ = true;
  switch (task_.kind) {
    case TaskKind::kTrain:
      return Train();
    case TaskKind::kEvaluate:
      return Evaluate();
    case TaskKind::kSolve:
      return Solve();
  }
}

absl::Status TaskRunner::RemoveWork(const char* path) {
  const absl::Status removed = ports_.files.Remove(path);
  return absl::IsNotFound(removed) ? absl::OkStatus() : removed;
}

void TaskRunner::Train() {
  progress_(AgentState::kTraining, 0);
  const absl::Status removed = RemoveWork(kWorkDeltaPath);
  if (!removed.ok()) return Answer(removed);
  TrainRequest request;
  request.round = task_.training_round;
  request.model_path = kWorkModelPath;
  request.delta_path = kWorkDeltaPath;
  trainer_.Train(std::move(request), guard_([this](float fraction) {
                   if (training_) progress_(AgentState::kTraining, fraction);
                 }),
                 guard_([this](absl::StatusOr<TrainResult> result) {
                   training_ = false;
                   if (!result.ok()) return Answer(result.status());
                   SealTrained(*result);
                 }));
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

void TaskRunner::SealTrained(const TrainResult& result) {
  auto quantize = [&files = ports_.files, run = run_,
                   samples = result.samples]() {
    absl::StatusOr<RawUpdate> raw =
        ReadRawUpdate(files, kWorkDeltaPath, run->layout, samples);
    // An update in the clear stays on disk no longer than needed.
    const absl::Status removed = files.Remove(kWorkDeltaPath);
    if (!raw.ok()) return absl::StatusOr<QuantizedUpdate>(raw.status());
    if (!removed.ok()) return absl::StatusOr<QuantizedUpdate>(removed);
    ClippedUpdate clipped = ClippedUpdate::Clip(*std::move(raw), run->plan);
    FG_LOG_INFO("update of {} images: L2 norm {:.4g}, clipped to {:.4g}",
                samples, clipped.l2_norm_before(), clipped.l2_norm_after());
    return QuantizedUpdate::FromUpdate(std::move(clipped), run->plan);
  };
  Seal(std::move(quantize), result.loss, {});
}

void TaskRunner::SealEvaluated(EvaluateResult result) {
  auto quantize = [run = run_, sums = std::move(result.sums)]() mutable
      -> absl::StatusOr<QuantizedUpdate> {
    FG_ASSIGN_OR_RETURN(EvaluationSums valid,
                        EvaluationSums::Create(run->plan, std::move(sums)));
    return QuantizedUpdate::FromSums(std::move(valid), run->plan);
  };
  Seal(std::move(quantize), 0, std::move(result.scalars));
}

void TaskRunner::SealSolved(const SolveResult& result) {
  auto quantize = [&files = ports_.files, run = run_,
                   samples =
                       result.samples]() -> absl::StatusOr<QuantizedUpdate> {
    FG_ASSIGN_OR_RETURN(const Bytes content, ReadAll(files, kWorkModelPath));
    FG_ASSIGN_OR_RETURN(SolvePoint point, DecodeSolvePoint(content));
    absl::StatusOr<SolveSums> sums =
        ReadSolveSums(files, kWorkSumsPath, std::move(point));
    // As an update in the clear: no longer on disk than needed.
    const absl::Status removed = files.Remove(kWorkSumsPath);
    FG_RETURN_IF_ERROR(sums.status());
    FG_RETURN_IF_ERROR(removed);
    FG_LOG_INFO("statistics of {} images: {} sums", samples,
                sums->values().size());
    return QuantizedUpdate::FromSolveSums(*std::move(sums), run->plan);
  };
  Seal(std::move(quantize), 0, {});
}

void TaskRunner::Seal(std::function<absl::StatusOr<QuantizedUpdate>()> quantize,
                      double loss, std::map<std::string, double> scalars) {
  progress_(AgentState::kSealing, 1);
  const std::string path = run_->files.UpdatePath(task_.kind);
  finished_[path] = std::nullopt;  // about to be overwritten
  auto work = [quantize = std::move(quantize), sealer = sealer_, run = run_,
               header = HeaderOfTask(),
               path]() -> absl::StatusOr<SealedUpdate> {
    FG_ASSIGN_OR_RETURN(QuantizedUpdate quantized, quantize());
    if (quantized.head().saturated > 0) {
      FG_LOG_WARNING(
          "round {}: {} of {} values exceed the plan's range and "
          "were cut to it",
          header.round.value, quantized.head().saturated,
          quantized.head().count);
    }
    return sealer->Seal(std::move(quantized), header,
                        run->descriptor.hpke_public_key, path);
  };
  background_.Run(std::move(work),
                  guard_([this, path, loss, scalars = std::move(scalars)](
                             absl::StatusOr<SealedUpdate> sealed) mutable {
                    if (!sealed.ok()) return Answer(std::move(sealed).status());
                    finished_[path] = *sealed;
                    if (cancelled_) {
                      return Answer(absl::CancelledError("task was given up"));
                    }
                    Answer(FinishedTask{*std::move(sealed), /*recovered=*/false,
                                        loss, std::move(scalars)});
                  }));
}

void TaskRunner::Answer(absl::StatusOr<FinishedTask> answer) {
  training_ = false;
  std::exchange(reply_, nullptr)(std::move(answer));
}

}  // namespace fedgraft
