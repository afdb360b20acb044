#pragma once

#include <functional>
#include <memory>
#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/runtime/scheduler.h"
#include "grpcpp/support/server_callback.h"
#include "proto/admin.pb.h"

namespace fedgraft {

// Sends operators a status at once and after every change, at most every
// 100 ms; a slow reader skips to the newest. Lives as long as the server.
class WatchHub {
 public:
  // `status` is called on the strand.
  WatchHub(Scheduler& strand, std::function<pb::StatusReply()> status)
      : strand_(strand), status_(std::move(status)) {}

  // A new watcher; it deletes itself when the operator goes away.
  grpc::ServerWriteReactor<pb::StatusReply>* Watch();
  // On the strand: something changed.
  void Changed();
  // Ends every watch: the server is about to stop.
  void Close();

 private:
  class Watcher;

  void Send();

  Scheduler& strand_;
  std::function<pb::StatusReply()> status_;
  bool due_ = false;  // strand
  absl::Mutex mutex_;
  std::set<Watcher*> watchers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fedgraft
