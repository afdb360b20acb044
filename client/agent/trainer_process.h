#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/agent/callback_guard.h"
#include "client/agent/child_process.h"
#include "client/agent/feature_cache_setup.h"
#include "client/agent/local_trainer.h"
#include "common/runtime/clock.h"
#include "common/runtime/scheduler.h"
#include "proto/config.pb.h"

namespace fedgraft::pb {
class TrainerReply;
class TrainerRequest;
}  // namespace fedgraft::pb

namespace fedgraft {

struct TrainerProcessOptions {
  std::string binary;
  std::vector<std::string> arguments;
  // The folder of the agent's FileStore; paths in requests are below it.
  std::string files_root;
  pb::DataConfig data;
  pb::ComputeConfig compute;
  FeatureCacheSetup cache;
  bool share_devices = false;     // SitePolicy::share_devices
  uint64_t memory_bytes_max = 0;  // 0: no limit
  absl::Duration progress_timeout = absl::Minutes(10);
};
// The parts `data`, `compute` and `trainer` of the client's configuration, all
// but the binary, and what of `policy` the trainer has to know.
// INVALID_ARGUMENT naming the key.
absl::Status FillTrainerOptions(const pb::ClientConfig& config,
                                TrainerProcessOptions& options);

// The LocalTrainer of production: fedgraft-trainer as a child process, spoken
// to as in proto/trainer.proto.
//
// The trainer decodes images, so it is not trusted: whatever it sends is
// checked here. It starts at Configure, stays up between tasks and is killed
// when it is silent for progress_timeout during a call (UNAVAILABLE), at Cancel
// (CANCELLED), and when it breaks the protocol: too long a frame, one that is
// no reply, a reply to another request or of another kind, too many sums or
// numbers that are not finite (DATA_LOSS). The next call must be Configure.
//
// Lives on the strand: made, called and destroyed there, or destroyed after the
// strand has stopped.
class TrainerProcess : public LocalTrainer {
 public:
  static constexpr int kSumsMax = 1 << 22;
  static constexpr int kScalarsMax = 4096;

  TrainerProcess(TrainerProcessOptions options, Scheduler& strand,
                 const Clock& clock);
  ~TrainerProcess() override;

  void Configure(TrainerSetup setup, Reply<TrainerReady> reply) override;
  void Train(TrainRequest request, Progress progress,
             Reply<TrainResult> reply) override;
  void Evaluate(EvaluateRequest request, Progress progress,
                Reply<EvaluateResult> reply) override;
  void Solve(SolveRequest request, Progress progress,
             Reply<SolveResult> reply) override;
  void Gather(GatherRequest request, Progress progress,
              Reply<GatherResult> reply) override;
  void Sketch(SketchRequest request, Progress progress,
              Reply<SketchResult> reply) override;
  void Cancel() override;

 private:
  // How the call under way takes its reply: an error of the content means that
  // the trainer broke the protocol.
  struct Call {
    uint64_t id = 0;
    Progress progress;
    std::function<absl::Status(const pb::TrainerReply&)> accept;
    std::function<void(absl::Status)> fail;
    absl::Time last_progress;
  };

  std::string FullPath(const std::string& path) const;
  absl::Status StartChild();
  void StopChild();
  // Sends, and answers `reply` with what comes. Defined in the .cc file, which
  // alone uses it.
  template <typename T>
  void Ask(pb::TrainerRequest& request, Progress progress, Reply<T> reply);
  void Send(pb::TrainerRequest& request, Call call);
  void OnFrame(const Bytes& bytes);
  absl::Status HandleReply(const pb::TrainerReply& reply);
  // Ends the call with an error and, unless the child is well, the child.
  void Fail(absl::Status status);
  void Watch();

  TrainerProcessOptions options_;
  Scheduler& strand_;
  const Clock& clock_;
  CallbackGuard child_guard_;  // of the child that is up now
  CallbackGuard guard_;
  std::unique_ptr<ChildProcess> child_;
  bool configured_ = false;
  uint64_t last_id_ = 0;
  std::unique_ptr<Call> call_;
  TimerId watch_timer_ = 0;
};

}  // namespace fedgraft
