#include "aggregator/net/watch_hub.h"

#include <optional>
#include <utility>

#include "common/net/grpc/status_bridge.h"

namespace fedgraft {
namespace {

constexpr absl::Duration kInterval = absl::Milliseconds(100);

}  // namespace

// One Watch stream: at most one write under way, the newest status waits.
class WatchHub::Watcher final
    : public grpc::ServerWriteReactor<pb::StatusReply> {
 public:
  explicit Watcher(WatchHub& hub) : hub_(hub) {}

  void Offer(const std::shared_ptr<const pb::StatusReply>& status) {
    absl::MutexLock lock(&mutex_);
    if (finished_) return;
    if (writing_) {
      waiting_ = status;
    } else {
      Write(status);
    }
  }

  void End(absl::Status status) {
    absl::MutexLock lock(&mutex_);
    if (!end_.has_value()) end_ = std::move(status);
    FinishIfIdle();
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    if (!ok && !end_.has_value()) end_ = absl::CancelledError("");
    if (!end_.has_value() && waiting_ != nullptr) {
      Write(std::exchange(waiting_, nullptr));
      return;
    }
    FinishIfIdle();
  }

  void OnCancel() override { End(absl::CancelledError("")); }

  void OnDone() override {
    {
      absl::MutexLock lock(&hub_.mutex_);
      hub_.watchers_.erase(this);
    }
    delete this;
  }

 private:
  void Write(std::shared_ptr<const pb::StatusReply> status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    current_ = std::move(status);
    writing_ = true;
    StartWrite(current_.get());
  }
  void FinishIfIdle() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!end_.has_value() || writing_ || finished_) return;
    finished_ = true;
    Finish(ToGrpc(*end_));
  }

  WatchHub& hub_;
  absl::Mutex mutex_;
  std::shared_ptr<const pb::StatusReply> current_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const pb::StatusReply> waiting_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
};

grpc::ServerWriteReactor<pb::StatusReply>* WatchHub::Watch() {
  auto* watcher = new Watcher(*this);
  {
    absl::MutexLock lock(&mutex_);
    watchers_.insert(watcher);
  }
  strand_.Post([this] { Changed(); });
  return watcher;
}

void WatchHub::Changed() {
  if (due_) return;
  due_ = true;
  strand_.After(kInterval, [this] {
    due_ = false;
    Send();
  });
}

void WatchHub::Send() {
  absl::MutexLock lock(&mutex_);
  if (watchers_.empty()) return;
  const auto status = std::make_shared<const pb::StatusReply>(status_());
  for (Watcher* watcher : watchers_) watcher->Offer(status);
}

void WatchHub::Close() {
  absl::MutexLock lock(&mutex_);
  for (Watcher* watcher : watchers_) watcher->End(absl::OkStatus());
}

}  // namespace fedgraft
