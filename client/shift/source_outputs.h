#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/shift/calibration.h"
#include "common/transfer/matrix_view.h"

namespace fedgraft {

// A classifier's outputs on records that it was not trained on and whose
// labels are known.
struct LabelledOutputs {
  MatrixView outputs;                // [m, C], probabilities
  absl::Span<const int64_t> labels;  // [m]
};

// How a classifier's outputs are read as posteriors of a source, whose labels
// have a known distribution: what estimates of a target's start from.
// Immutable.
class SourceOutputs {
 public:
  // The source is that of the labelled records: outputs are calibrated on them
  // (common/shift/calibration.h), the prior is the mean of the calibrated
  // outputs. INVALID_ARGUMENT: sizes or values. FAILED_PRECONDITION: fewer than
  // kCalibrationClassMin records of a class, or outputs that speak against the
  // labels.
  static constexpr int64_t kCalibrationClassMin = 5;
  static absl::StatusOr<SourceOutputs> Calibrate(const LabelledOutputs& source);
  // Outputs are taken as they are, for posteriors of a source with these
  // shares. INVALID_ARGUMENT: fewer than two, or shares that are not above 0
  // and add up to 1.
  static absl::StatusOr<SourceOutputs> AsTheyAre(std::vector<double> prior);

  const std::vector<double>& prior() const { return prior_; }
  const std::optional<Calibration>& calibration() const { return calibration_; }
  // [n, C] of outputs [n, C]. INVALID_ARGUMENT: another number of classes, or
  // rows that are no probabilities.
  absl::StatusOr<std::vector<double>> Posteriors(
      const MatrixView& outputs) const;

 private:
  explicit SourceOutputs(std::vector<double> prior)
      : prior_(std::move(prior)) {}
  std::vector<double> prior_;
  std::optional<Calibration> calibration_;
};

// INVALID_ARGUMENT: not probabilities [n, classes], row by row.
absl::Status CheckOutputs(const MatrixView& outputs, int64_t classes);

// Some records of a sample, perhaps several times.
class ResampledOutputs {
 public:
  // `drawn`: indices of records.
  ResampledOutputs(const LabelledOutputs& from,
                   absl::Span<const int64_t> drawn);
  LabelledOutputs View() const {
    return {{outputs_, static_cast<int64_t>(labels_.size()), classes_},
            labels_};
  }

 private:
  int64_t classes_;
  std::vector<double> outputs_;
  std::vector<int64_t> labels_;
};

}  // namespace fedgraft
