#pragma once

#include <cstdint>
#include <map>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "common/base/ids.h"

namespace fedgraft {

// How often the aggregator refused what a known site uploaded, since the
// process started. Thread-safe.
class RefusalCounter {
 public:
  // A refusal is an answer about what was sent; a broken line, a stop or a
  // wrong moment is none.
  void Count(const SiteId& site, const absl::Status& status) {
    switch (status.code()) {
      case absl::StatusCode::kInvalidArgument:
      case absl::StatusCode::kPermissionDenied:
      case absl::StatusCode::kFailedPrecondition:
      case absl::StatusCode::kResourceExhausted:
      case absl::StatusCode::kDataLoss: {
        absl::MutexLock lock(&mutex_);
        ++counts_[site];
        return;
      }
      default:
        return;
    }
  }
  uint64_t Of(const SiteId& site) const {
    absl::MutexLock lock(&mutex_);
    const auto it = counts_.find(site);
    return it == counts_.end() ? 0 : it->second;
  }

 private:
  mutable absl::Mutex mutex_;
  std::map<SiteId, uint64_t> counts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fedgraft
