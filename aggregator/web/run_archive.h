#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "aggregator/web/page.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// The reports of runs that have ended: reports/<run>.json, and a line for each
// in reports/index.json. The log keeps the newest run only; this is for people,
// and no decision reads it. Thread-safe.
class RunArchive {
 public:
  // The oldest beyond this are removed.
  static constexpr size_t kRunsMax = 200;

  struct Entry {
    RunLine line;
    absl::Time kept;  // when the report was made
  };

  // A damaged or missing index counts as an empty one. `files` outlives it.
  explicit RunArchive(FileStore& files);

  bool Has(const std::string& run) const;
  // `report`: what ReportJson gives of a run that has ended. A run that is
  // there already stays as it is. INVALID_ARGUMENT: no report of a run, or an
  // id that cannot be a file's name.
  absl::Status Keep(const std::string& report, absl::Time now);
  std::vector<Entry> All() const;  // the newest first
  // NOT_FOUND: no such run.
  absl::StatusOr<std::string> Read(const std::string& run) const;

 private:
  absl::Status WriteIndex() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  FileStore& files_;
  mutable absl::Mutex mutex_;
  std::map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fedgraft
