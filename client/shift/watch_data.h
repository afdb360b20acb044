#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "client/shift/performance_estimate.h"
#include "client/shift/shift_test.h"
#include "common/transfer/matrix_view.h"

namespace fedgraft {

// A site's new records, without labels, beside those that the model was
// trained on. All of it stays at the site.
struct WatchedRecords {
  MatrixView features;  // [n, d]
  MatrixView outputs;   // [n, C], calibrated probabilities
};

struct WatchReport {
  // Absent: too few records, or ones that do not vary.
  std::optional<ShiftResult> features;  // kernel two-sample test
  std::optional<ShiftResult> outputs;   // predicted classes by confidence
  PerformanceEstimate expected;         // on the new records
  PerformanceEstimate before;           // the same on the training records
};

// INVALID_ARGUMENT: sizes, values. FAILED_PRECONDITION: fewer than
// kSketchRecordsMin records on either side, or features that never vary.
absl::StatusOr<WatchReport> WatchData(const WatchedRecords& training,
                                      const WatchedRecords& arrived,
                                      uint64_t seed);

}  // namespace fedgraft
