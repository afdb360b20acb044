#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/shift/shift_test.h"
#include "common/shift/shift_tests.h"
#include "common/transfer/matrix_view.h"

namespace fedgraft {

// Whether a site is better off with the federated model than with one of its
// own records, on records that neither was trained on.
struct TransferRecords {
  absl::Span<const int64_t> labels;    // [n], 0..C-1
  MatrixView federated, local;         // [n, C], scores of the two models
  absl::Span<const int64_t> patients;  // [n]; a patient's records go together
};

enum class TransferMeasure {
  // Two classes. DeLong's interval; with patients of several records, which
  // are not independent, the patients' bootstrap.
  kAuc,
  // Mean recall over classes, by the patients' bootstrap (BCa).
  kBalancedAccuracy,
};

struct TransferComparison {
  // Federated less local, with the 95 % interval and a two-sided p.
  double delta = 0, low = 0, high = 0, p = 1;
  TransferVerdict verdict = TransferVerdict::kNoDifference;
};

// INVALID_ARGUMENT: sizes, values, labels outside, or more than two classes
// for kAuc. FAILED_PRECONDITION: fewer than kTransferClassMin records of a
// class or three patients.
inline constexpr int64_t kTransferClassMin = 5;
absl::StatusOr<TransferComparison> CompareTransfer(
    const TransferRecords& records, TransferMeasure measure, uint64_t seed);

// "transfer.delta", ".low", ".high", ".p": what a site may release.
void AddTransfer(const TransferComparison& comparison, ShiftScalars& scalars);

}  // namespace fedgraft
