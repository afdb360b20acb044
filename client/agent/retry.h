#pragma once

#include "absl/status/status.h"
#include "common/protocol/messages.h"

namespace fedgraft {

// Whether the same call may succeed later: the connection broke, the aggregator
// is down, restarting or short of disk. A typed refusal is final, but for
// `storage`; so is an error of this site's own disk or data.
inline bool IsRetryable(const absl::Status& status) {
  if (const auto refusal = RefusalOf(status)) {
    return *refusal == RefusalReason::kStorage;
  }
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kInternal:
      return true;
    default:
      return false;
  }
}

}  // namespace fedgraft
