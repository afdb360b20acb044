#pragma once

#include "absl/status/statusor.h"
#include "client/train/predict.h"
#include "client/train/site_metrics.h"

namespace fedgraft {

// Answers corrected to how common the classes are among the records that they
// are for: p(c | x) q_c / s_c (common/shift/label_shift.h).
struct CorrectedPredictions {
  Predictions predictions;
  PriorCorrectionResult result;  // without metrics
};

// `validation`: answers for labelled records, of which there are none if the
// spec has training priors. Errors as of Predict.
absl::StatusOr<CorrectedPredictions> CorrectPredictions(
    const PriorCorrectionSpec& spec, const Predictions& raw,
    const Predictions& validation);

}  // namespace fedgraft
