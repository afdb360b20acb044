#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "client/agent/agent.h"
#include "client/agent/background.h"
#include "client/agent/blob_fetcher.h"
#include "client/agent/configured_trainer.h"
#include "client/agent/run_context.h"
#include "client/agent/secure_tasks.h"
#include "client/privacy/budget_ledger.h"
#include "client/update/statistic_sums.h"
#include "client/update/update_file.h"
#include "common/protocol/messages.h"
#include "common/protocol/reply.h"

namespace fedgraft {

// What came of a task: an update ready to be delivered.
struct FinishedTask {
  SealedUpdate update;
  // Sealed earlier (before a restart or a lost connection) and found on disk:
  // the aggregator may hold some of it or all.
  bool recovered = false;
  double loss = 0;                        // train
  std::map<std::string, double> scalars;  // not yet filtered
};

// Turns a task into a sealed update: fetches the model that it starts from,
// has the trainer work on it, and runs the update pipeline on the executor. A
// task whose update is on disk already is not worked on again.
//
// Single-strand, one task at a time.
class TaskRunner {
 public:
  using Progress = std::function<void(AgentState stage, float fraction)>;

  // All referenced outlive the runner.
  TaskRunner(AgentPorts ports, const AgentOptions& options, AgentKeys keys,
             Background& background, BlobFetcher& fetcher,
             ConfiguredTrainer& trainer, const SecureTasks& secure);

  // CANCELLED after Cancel; INVALID_ARGUMENT: a task that does not belong to
  // the run, or an update that is not finite or does not fit the layout;
  // PERMISSION_DENIED: it would exceed the site's privacy budget;
  // DATA_LOSS: a model without the digest that it is named by; other errors
  // are those of fetch, trainer and disk. Nothing was sent then.
  void Run(std::shared_ptr<const RunContext> run, Task task, Progress progress,
           Reply<FinishedTask> reply);
  void Cancel();
  bool busy() const { return reply_ != nullptr; }

 private:
  // A file that an earlier attempt left must not pass for this one's result.
  absl::Status RemoveWork(const char* path);
  void FindFinished();
  bool IsOfTask(const UploadHeader& header) const;
  void PrepareModel();
  // `path` then holds `content`, which has this digest.
  absl::Status StoreInline(ByteSpan content, const Digest& digest,
                           const std::string& path, absl::string_view what);
  // Tells the audit log of a remedy that begins or ends.
  absl::Status NoteRemedy();
  // What was gathered before training: fetched once.
  void PrepareStatistics();
  void Work();
  // With differential privacy: first the ledger, then the work.
  void Charge();
  void Train();
  void Evaluate();
  void Solve();
  void Gather();
  void Sketch();
  void SealTrained(const TrainResult& result);
  void SealEvaluated(EvaluateResult result);
  void SealSolved(const SolveResult& result);
  void SealGathered(const GatherResult& result);
  void SealSketched(SketchResult result);
  // Runs `quantize` and seals what it makes, on the executor.
  void Seal(std::function<absl::StatusOr<QuantizedUpdate>()> quantize,
            double loss, std::map<std::string, double> scalars);
  UploadHeader HeaderOfTask() const;
  void Answer(absl::StatusOr<FinishedTask> answer);

  AgentPorts ports_;
  const AgentOptions& options_;
  Background& background_;
  BlobFetcher& fetcher_;
  ConfiguredTrainer& trainer_;
  const SecureTasks& secure_;
  std::shared_ptr<UpdateSealer> sealer_;
  std::shared_ptr<BudgetLedger> ledger_;
  const std::shared_ptr<SketchSumsReader> sketches_;
  CallbackGuard guard_;

  std::shared_ptr<const RunContext> run_;
  Task task_;
  Progress progress_;
  Reply<FinishedTask> reply_;  // null: idle
  bool cancelled_ = false;
  bool fetching_ = false;
  bool training_ = false;
  // The last finished update by path, once looked for; nullopt: none.
  std::map<std::string, std::optional<SealedUpdate>> finished_;
  // What kWorkModelPath holds.
  std::optional<Digest> work_model_;
  // What StatisticsPath of that run was found to hold.
  std::optional<std::pair<RunId, Digest>> statistics_;
  std::optional<PrivacyCharge> charge_;  // of the task at work
  // What the newest task had this site do about what it differs in.
  SiteRemedy remedy_ = SiteRemedy::kNone;
};

}  // namespace fedgraft
