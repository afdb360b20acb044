#include "client/train/corrected_predictions.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/shift/source_outputs.h"
#include "common/base/status_macros.h"
#include "common/shift/label_shift.h"

namespace fedgraft {
namespace {

// Of the bootstrap of the calibration: the same call gives the same file.
constexpr uint64_t kSeed = 1;
constexpr double kProbabilityMin = 1e-30;

absl::Status CheckShares(const char* name, const std::vector<double>& shares,
                         int classes) {
  double sum = 0;
  bool is_negative = false;
  for (double share : shares) {
    sum += share;
    is_negative = is_negative || !(share >= 0);
  }
  if (static_cast<int>(shares.size()) == classes && !is_negative &&
      std::abs(sum - 1) < 1e-3) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      name, ": expected ", classes,
      " shares from 0 on that add up to 1, one for each class, got ",
      shares.size(), " that add up to ", sum));
}

// To a sum of exactly 1.
std::vector<double> Normalized(std::vector<double> shares) {
  double sum = 0;
  for (double share : shares) sum += share;
  for (double& share : shares) share /= sum;
  return shares;
}

absl::StatusOr<SourceOutputs> SourceOf(const PriorCorrectionSpec& spec,
                                       const LabelledOutputs& validation,
                                       int classes) {
  if (!spec.training_priors.empty()) {
    FG_RETURN_IF_ERROR(
        CheckShares("--training-priors", spec.training_priors, classes));
    return SourceOutputs::AsTheyAre(Normalized(spec.training_priors));
  }
  if (validation.outputs.rows == 0) {
    return absl::FailedPreconditionError(
        "--prior-correction: there are no labelled images to calibrate the "
        "model on; expected --validation with images that it was not trained "
        "on, or --training-priors with the classes' shares that it was "
        "trained on");
  }
  auto source = SourceOutputs::Calibrate(validation);
  if (absl::IsFailedPrecondition(source.status())) {
    return absl::FailedPreconditionError(
        absl::StrCat(source.status().message(),
                     "; expected more labelled images (--validation), or "
                     "--training-priors"));
  }
  return source;
}

// Probabilities as answers, with the losses of known labels.
Predictions AnswersOf(const Predictions& raw,
                      const std::vector<double>& probabilities) {
  Predictions answers;
  answers.classes = raw.classes;
  answers.labels = raw.labels;
  answers.probabilities.assign(probabilities.begin(), probabilities.end());
  for (size_t i = 0; i < raw.count(); ++i) {
    const int label = raw.labels[i];
    answers.losses.push_back(
        label < 0 ? 0
                  : -std::log(std::max(probabilities[i * raw.classes + label],
                                       kProbabilityMin)));
  }
  return answers;
}

}  // namespace

absl::StatusOr<CorrectedPredictions> CorrectPredictions(
    const PriorCorrectionSpec& spec, const Predictions& raw,
    const Predictions& validation) {
  const std::vector<double> outputs(raw.probabilities.begin(),
                                    raw.probabilities.end());
  const std::vector<double> held_out(validation.probabilities.begin(),
                                     validation.probabilities.end());
  const std::vector<int64_t> labels(validation.labels.begin(),
                                    validation.labels.end());
  const MatrixView view{outputs, static_cast<int64_t>(raw.count()),
                        raw.classes};
  const LabelledOutputs labelled{
      {held_out, static_cast<int64_t>(labels.size()), raw.classes}, labels};
  FG_ASSIGN_OR_RETURN(const SourceOutputs source,
                      SourceOf(spec, labelled, raw.classes));
  CorrectedPredictions corrected;
  PriorCorrectionResult& result = corrected.result;
  result.source = source.prior();
  if (source.calibration().has_value()) {
    result.validation_images = labelled.outputs.rows;
    result.temperature = source.calibration()->temperature;
  }
  if (spec.kind == PriorCorrectionKind::kGiven) {
    FG_RETURN_IF_ERROR(CheckShares("--priors", spec.priors, raw.classes));
    result.target.prior = Normalized(spec.priors);
  } else {
    FG_ASSIGN_OR_RETURN(result.target,
                        EstimateTargetPrior(view, source, labelled, kSeed));
  }
  FG_ASSIGN_OR_RETURN(const std::vector<double> posteriors,
                      source.Posteriors(view));
  FG_ASSIGN_OR_RETURN(const std::vector<double> probabilities,
                      CorrectPosteriors({posteriors, view.rows, view.columns},
                                        result.source, result.target.prior));
  corrected.predictions = AnswersOf(raw, probabilities);
  return corrected;
}

}  // namespace fedgraft
