#include "client/agent/task_delivery.h"

#include <utility>

#include "common/base/logging.h"

namespace fedgraft {

TaskDelivery::TaskDelivery(AgentPorts ports, const AgentOptions& options,
                           AgentKeys keys, Background& background,
                           BlobFetcher& fetcher, ConfiguredTrainer& trainer)
    : secure_(ports, options, keys, background),
      runner_(ports, options, keys, background, fetcher, trainer, secure_),
      uploader_(ports, options.backoff),
      heartbeats_(ports) {}

void TaskDelivery::Run(std::shared_ptr<const RunContext> run, const Task& task,
                       TaskRunner::Progress progress,
                       Reply<DeliveredTask> reply) {
  reply_ = std::move(reply);
  progress_ = std::move(progress);
  if (!task.secure.AsksUpdate()) {
    return secure_.Run(std::move(run), task,
                       guard_([this](const absl::StatusOr<Done>& done) {
                         if (!done.ok()) return Answer(done.status());
                         Answer(DeliveredTask());
                       }));
  }
  heartbeats_.Start(task, guard_([this, round = task.round] {
                      FG_LOG_INFO("round {}: the aggregator took the task back",
                                  round.value);
                      runner_.Cancel();
                      uploader_.Abort();
                    }));
  runner_.Run(std::move(run), task,
              guard_([this](AgentState stage, float fraction) {
                heartbeats_.SetProgress(fraction);
                progress_(stage, fraction);
              }),
              guard_([this](absl::StatusOr<FinishedTask> finished) {
                if (!finished.ok()) return Answer(finished.status());
                Upload(*std::move(finished));
              }));
}

void TaskDelivery::Upload(FinishedTask finished) {
  progress_(AgentState::kUploading, 1);
  DeliveredTask delivered;
  delivered.loss = finished.loss;
  delivered.scalars = std::move(finished.scalars);
  uploader_.Upload(std::move(finished.update), finished.recovered,
                   guard_([this, delivered = std::move(delivered)](
                              const absl::StatusOr<UploadReceipt>& receipt) {
                     if (!receipt.ok()) return Answer(receipt.status());
                     DeliveredTask answer = delivered;
                     answer.receipt = *receipt;
                     Answer(std::move(answer));
                   }));
}

void TaskDelivery::Abort() {
  guard_.Invalidate();
  heartbeats_.Stop();
  secure_.Abort();
  runner_.Cancel();
  uploader_.Abort();
}

void TaskDelivery::Answer(absl::StatusOr<DeliveredTask> answer) {
  heartbeats_.Stop();
  std::exchange(reply_, nullptr)(std::move(answer));
}

}  // namespace fedgraft
