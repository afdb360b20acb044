#pragma once

#include <functional>
#include <string>

#include "aggregator/web/run_archive.h"
#include "common/runtime/clock.h"
#include "common/runtime/executor.h"
#include "common/runtime/scheduler.h"
#include "proto/admin.pb.h"

namespace fedgraft {

// Puts the report of a run into the archive once the run has ended. Lives as
// long as the strand runs.
class RunKeeper {
 public:
  struct Ports {
    Scheduler& strand;
    Executor& executor;
    const Clock& clock;
    RunArchive& archive;
  };
  // `status` is called on the strand; its argument: with history.
  RunKeeper(Ports ports, std::function<pb::StatusReply(bool)> status)
      : ports_(ports), status_(std::move(status)) {}

  // On the strand: something changed. Looks after a moment, once for many
  // changes.
  void Changed();
  // On the strand: `status` is not called any more.
  void Close() { closed_ = true; }

 private:
  void Look();

  Ports ports_;
  std::function<pb::StatusReply(bool)> status_;
  bool due_ = false;     // strand
  bool closed_ = false;  // strand
  std::string handed_;   // strand: the run that was handed over last
};

}  // namespace fedgraft
