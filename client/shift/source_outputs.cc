#include "client/shift/source_outputs.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr double kSumTolerance = 1e-4;  // of single-precision softmax
constexpr double kProbabilityMin = 1e-30;

// Softmax of these gives the outputs again.
std::vector<double> LogOutputs(const MatrixView& outputs) {
  std::vector<double> logs(outputs.values.size());
  std::transform(
      outputs.values.begin(), outputs.values.end(), logs.begin(),
      [](double p) { return std::log(std::max(p, kProbabilityMin)); });
  return logs;
}

absl::Status CheckClassCounts(const LabelledOutputs& source) {
  std::vector<int64_t> counts(source.outputs.columns);
  for (int64_t label : source.labels) {
    if (label < 0 || label >= source.outputs.columns) {
      return absl::InvalidArgumentError(
          absl::StrCat("calibration: label ", label, " of ",
                       source.outputs.columns, " classes"));
    }
    ++counts[label];
  }
  for (size_t c = 0; c < counts.size(); ++c) {
    if (counts[c] < SourceOutputs::kCalibrationClassMin) {
      return absl::FailedPreconditionError(absl::StrCat(
          "calibration: expected ", SourceOutputs::kCalibrationClassMin,
          " or more labelled records of class ", c, ", got ", counts[c]));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckOutputs(const MatrixView& outputs, int64_t classes) {
  FG_RETURN_IF_ERROR(CheckMatrix(outputs, "outputs"));
  if (outputs.columns != classes || classes < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("outputs: expected ", std::max<int64_t>(classes, 2),
                     " classes, got ", outputs.columns));
  }
  for (int64_t r = 0; r < outputs.rows; ++r) {
    double sum = 0;
    bool is_negative = false;
    for (double p : outputs.Row(r)) {
      sum += p;
      is_negative = is_negative || p < 0;
    }
    if (is_negative || !(std::abs(sum - 1) < kSumTolerance)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "outputs: expected probabilities, got a sum of ", sum,
          is_negative ? " with some below 0" : "", " for record ", r));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<SourceOutputs> SourceOutputs::Calibrate(
    const LabelledOutputs& source) {
  FG_RETURN_IF_ERROR(CheckOutputs(source.outputs, source.outputs.columns));
  FG_RETURN_IF_ERROR(CheckClassCounts(source));
  const std::vector<double> logs = LogOutputs(source.outputs);
  SourceOutputs result({});
  FG_ASSIGN_OR_RETURN(
      result.calibration_,
      FitCalibration({logs, source.outputs.rows, source.outputs.columns},
                     source.labels));
  FG_ASSIGN_OR_RETURN(const std::vector<double> posteriors,
                      result.Posteriors(source.outputs));
  result.prior_.assign(source.outputs.columns, 0);
  for (size_t i = 0; i < posteriors.size(); ++i) {
    result.prior_[i % source.outputs.columns] +=
        posteriors[i] / static_cast<double>(source.outputs.rows);
  }
  return result;
}

absl::StatusOr<SourceOutputs> SourceOutputs::AsTheyAre(
    std::vector<double> prior) {
  double sum = 0;
  for (double share : prior) {
    if (!(share > 0)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "training priors: expected shares above 0, got ", share));
    }
    sum += share;
  }
  if (prior.size() < 2 || !(std::abs(sum - 1) < 1e-6)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "training priors: expected two shares or more that add up to 1, got ",
        prior.size(), " that add up to ", sum));
  }
  return SourceOutputs(std::move(prior));
}

absl::StatusOr<std::vector<double>> SourceOutputs::Posteriors(
    const MatrixView& outputs) const {
  const int64_t classes = calibration_.has_value()
                              ? static_cast<int64_t>(calibration_->bias.size())
                              : static_cast<int64_t>(prior_.size());
  FG_RETURN_IF_ERROR(CheckOutputs(outputs, classes));
  if (calibration_.has_value()) {
    const std::vector<double> logs = LogOutputs(outputs);
    return CalibratedPosteriors({logs, outputs.rows, classes}, *calibration_);
  }
  // Single precision adds up to 1 only nearly.
  std::vector<double> posteriors;
  posteriors.reserve(outputs.values.size());
  for (int64_t r = 0; r < outputs.rows; ++r) {
    double sum = 0;
    for (double p : outputs.Row(r)) sum += p;
    for (double p : outputs.Row(r)) posteriors.push_back(p / sum);
  }
  return posteriors;
}

ResampledOutputs::ResampledOutputs(const LabelledOutputs& from,
                                   absl::Span<const int64_t> drawn)
    : classes_(from.outputs.columns) {
  for (int64_t record : drawn) {
    const absl::Span<const double> row = from.outputs.Row(record);
    outputs_.insert(outputs_.end(), row.begin(), row.end());
    labels_.push_back(from.labels[record]);
  }
}

}  // namespace fedgraft
