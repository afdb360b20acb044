#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "client/shift/source_outputs.h"
#include "common/transfer/matrix_view.h"

namespace fedgraft {

struct MeasureInterval {
  double value = 0, low = 0, high = 0;  // 95 %
};

struct ModelPerformance {
  std::optional<MeasureInterval> auc;  // two classes only
  MeasureInterval balanced_accuracy;
};

// How well a model does on records without labels: what EstimatePerformance
// (performance_estimate.h) makes of its outputs once they are calibrated on
// `validation` and, if `undoes_label_shift`, corrected to the prior that EM
// finds (common/shift/label_shift.h).
//
// The interval is for what the records' own labels would show. As many times as
// kPerformanceDraws the validation records are drawn with replacement and
// calibrate anew, and labels are drawn by the posteriors that come of it; of
// more than kPerformanceRecordsMax records every k-th stands for all. It is
// right if p(y | outputs) is that of the validation records: under label shift
// only with the correction, under concept shift never.
//
// Errors as of SourceOutputs and EstimatePriorEm. FAILED_PRECONDITION: a class
// that no record is expected to be of.
inline constexpr int kPerformanceDraws = 200;
inline constexpr int64_t kPerformanceRecordsMax = 2000;
absl::StatusOr<ModelPerformance> ExpectPerformance(
    const MatrixView& outputs, const LabelledOutputs& validation,
    bool undoes_label_shift, uint64_t seed);

// The same of records whose labels are known: DeLong's interval on the logit
// scale (common/shift/paired_auc.h), or the rule of three where all pairs are
// in order, and the binomial one of each recall. FAILED_PRECONDITION: a class
// has no record.
absl::StatusOr<ModelPerformance> ObservePerformance(
    const LabelledOutputs& records);

}  // namespace fedgraft
