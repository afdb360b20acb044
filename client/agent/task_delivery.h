#pragma once

#include <map>
#include <memory>
#include <string>

#include "client/agent/heartbeats.h"
#include "client/agent/task_runner.h"
#include "client/agent/uploader.h"

namespace fedgraft {

// A task whose update the aggregator acknowledged.
struct DeliveredTask {
  UploadReceipt receipt;
  double loss = 0;                        // train
  std::map<std::string, double> scalars;  // not yet filtered
};

// A task from its offer to its receipt: worked on, uploaded, and kept alive by
// heartbeats all the while. Single-strand, one task at a time.
class TaskDelivery {
 public:
  // All referenced outlive the object.
  TaskDelivery(AgentPorts ports, const AgentOptions& options, AgentKeys keys,
               Background& background, BlobFetcher& fetcher,
               ConfiguredTrainer& trainer);

  // A step of secure aggregation that is no update is answered; anything else
  // becomes one. Errors of SecureTasks::Run, TaskRunner::Run and
  // Uploader::Upload; CANCELLED if the
  // aggregator took the task back.
  void Run(std::shared_ptr<const RunContext> run, const Task& task,
           TaskRunner::Progress progress, Reply<DeliveredTask> reply);
  // Ends what is under way; the answer need not come.
  void Abort();

  uint64_t bytes_sent() const { return uploader_.bytes_sent(); }

 private:
  void Upload(FinishedTask finished);
  void Answer(absl::StatusOr<DeliveredTask> answer);

  SecureTasks secure_;
  TaskRunner runner_;
  Uploader uploader_;
  Heartbeats heartbeats_;
  CallbackGuard guard_;
  TaskRunner::Progress progress_;
  Reply<DeliveredTask> reply_;
};

}  // namespace fedgraft
