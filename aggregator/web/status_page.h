#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "aggregator/web/http_server.h"
#include "aggregator/web/run_archive.h"
#include "common/runtime/clock.h"
#include "proto/admin.pb.h"

namespace fedgraft {

// What each address of the status page answers:
//   /            every run
//   /runs/<id>   one run; ?refresh=10: the browser asks again by itself
//   /metrics     Prometheus
//   /healthz     whether the aggregator answers
// Anything else is 404. Thread-safe.
class StatusPage {
 public:
  // The newest status with its history; UNAVAILABLE: the aggregator did not
  // answer in time. Called on the caller's thread, one call at a time.
  using StatusSource = std::function<absl::StatusOr<pb::StatusReply>()>;

  // Whatever many readers ask for, the status is taken at most this often.
  static constexpr absl::Duration kAgeMax = absl::Seconds(1);

  // `archive` and `clock` outlive it.
  StatusPage(std::string federation, StatusSource source,
             const RunArchive& archive, const Clock& clock)
      : federation_(std::move(federation)),
        source_(std::move(source)),
        archive_(archive),
        clock_(clock) {}

  WebReply Answer(const WebRequest& request);

 private:
  // ReportJson of the newest status, and the id of its run.
  struct Report {
    std::string run, json;
  };
  absl::StatusOr<std::shared_ptr<const Report>> Newest();
  WebReply Index();
  WebReply Run(const std::string& run, const std::string& refresh);
  WebReply Metrics();
  WebReply Health();

  const std::string federation_;
  const StatusSource source_;
  const RunArchive& archive_;
  const Clock& clock_;
  absl::Mutex mutex_;
  std::shared_ptr<const Report> newest_ ABSL_GUARDED_BY(mutex_);
  absl::Time taken_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
};

}  // namespace fedgraft
