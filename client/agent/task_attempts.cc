#include "client/agent/task_attempts.h"

namespace fedgraft {
namespace {

// A model that came damaged, this site's disk full, or an aggregator that does
// not know what this site is at (it restarted): joining again may help.
bool MayPass(const absl::Status& status) {
  if (const auto refusal = RefusalOf(status)) {
    return *refusal == RefusalReason::kUnknownRun ||
           *refusal == RefusalReason::kNoTask;
  }
  return absl::IsDataLoss(status) || absl::IsResourceExhausted(status);
}

}  // namespace

bool TaskAttempts::Failed(const Task& task, const absl::Status& status) {
  const Key key = KeyOf(task);
  if (failed_ != key) retries_ = 0;
  failed_ = key;
  if (MayPass(status) && retries_ < kRetriesMax) {
    ++retries_;
    return true;
  }
  skipped_ = key;
  return false;
}

}  // namespace fedgraft
