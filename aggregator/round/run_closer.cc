#include "aggregator/round/run_closer.h"

#include <utility>

#include "common/base/logging.h"

namespace fedgraft {

RunCloser::~RunCloser() {
  if (retry_ != 0) context_.ports.strand.Cancel(retry_);
}

bool RunCloser::Request(bool stopped, std::string reason,
                        std::function<void(absl::Status)> done) {
  const bool first = !ending_.has_value();
  if (first) ending_ = {stopped, std::move(reason), {}};
  if (done != nullptr) ending_->done.push_back(std::move(done));
  return first;
}

void RunCloser::Begin() {
  const ModelRef& model = context_.state.model();
  if (model.inline_bytes == nullptr) return Stored(absl::OkStatus());
  context_.off_strand.Run<absl::Status>(
      [model, blobs = context_.blobs] {
        return blobs->Put(*model.inline_bytes).status();
      },
      [this](absl::Status stored) { Stored(stored); });
}

void RunCloser::Stored(const absl::Status& stored) {
  context_.cannot_publish = !stored.ok();
  if (!stored.ok()) {
    FG_LOG_ERROR("run {}: final model not stored, trying again in {}: {}",
                 context_.state.run()->id.value,
                 absl::FormatDuration(kRetryDelay),
                 std::string(stored.message()));
    retry_ = context_.ports.strand.After(kRetryDelay, [this] {
      retry_ = 0;
      Begin();
    });
    context_.changed();
    return;
  }
  context_.journal->Append(RunClosed{ending_->stopped, ending_->reason},
                           [this](absl::StatusOr<uint64_t> sequence) {
                             Journalled(sequence.status());
                           });
}

// No round follows that would read them. If a crash comes first, the next start
// removes them.
void RunCloser::RemoveStates() {
  context_.ports.executor.Run([spool = context_.spool, blobs = context_.blobs] {
    spool->DropSpares();
    blobs->DropSpare();
  });
  for (const Digest& digest : StatesOfRun(context_.state)) {
    context_.ports.executor.Run([digest, blobs = context_.blobs] {
      if (const absl::Status removed = blobs->Remove(digest); !removed.ok()) {
        FG_LOG_WARNING("blob {} stays: {}", digest.Short(),
                       std::string(removed.message()));
      }
    });
  }
}

void RunCloser::Journalled(const absl::Status& status) {
  const Ending ending = *std::exchange(ending_, std::nullopt);
  if (status.ok()) {
    FG_LOG_INFO(
        "run {}: {} after {} rounds, model {}", context_.state.run()->id.value,
        ending.stopped ? "stopped" : "finished",
        context_.state.history().size(), context_.state.model().digest.Short());
    RemoveStates();
  }
  ended_(status);
  for (const auto& done : ending.done) done(status);
}

}  // namespace fedgraft
