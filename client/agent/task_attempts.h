#pragma once

#include <optional>
#include <tuple>

#include "absl/status/status.h"
#include "common/protocol/messages.h"

namespace fedgraft {

// Which tasks this site takes up again after a failure, and which it skips
// from then on: the aggregator offers a task until its round closes, and
// neither a refusal nor a broken trainer may turn that into a hot loop.
// Remembers one task, which is enough: an aggregator has one at a time.
class TaskAttempts {
 public:
  // So often a failure that may pass is followed by another attempt.
  static constexpr int kRetriesMax = 3;

  // True: try again. False: skipped from now on.
  bool Failed(const Task& task, const absl::Status& status);
  void Succeeded() { failed_.reset(); }
  bool IsSkipped(const Task& task) const { return skipped_ == KeyOf(task); }

 private:
  // What makes two offers of a task the same task.
  using Key =
      std::tuple<RunId, RoundId, TaskKind, Digest, SecureStep, uint32_t>;
  static Key KeyOf(const Task& task) {
    return {task.run,   task.round,       task.kind,
            task.model, task.secure.step, task.secure.attempt};
  }
  std::optional<Key> failed_;
  int retries_ = 0;
  std::optional<Key> skipped_;
};

}  // namespace fedgraft
