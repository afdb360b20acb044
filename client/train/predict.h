#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/data/data_source.h"
#include "client/shift/target_prior.h"
#include "client/train/model_card.h"
#include "client/train/model_choice.h"
#include "client/train/session.h"

namespace fedgraft {

// Whether probabilities are corrected to how common the classes are among the
// images (label shift), and by what shares.
enum class PriorCorrectionKind {
  kNone,
  kEm,     // estimated from the images, without labels
  kGiven,  // `priors`
};

struct PriorCorrectionSpec {
  PriorCorrectionKind kind = PriorCorrectionKind::kNone;
  std::vector<double> priors;  // kGiven, by class
  // Labelled images that the model was not trained on: those of the validation
  // split, or if it has none of the test split. Null: the validation split of
  // the data themselves. The model is calibrated on them, and their shares of
  // the classes are those that its probabilities are of.
  const DataSource* validation = nullptr;
  // Instead: shares that the model was trained on, whose probabilities are
  // then taken as they are. Without labelled images, those of the model's card.
  std::vector<double> training_priors;
};

struct PredictOptions : ModelChoice {
  std::string out_path;  // CSV
  PriorCorrectionSpec correction;
};

struct PriorCorrectionResult {
  // By class. `target` has no intervals if it was given.
  std::vector<double> source;
  TargetPrior target;
  // Images that the model was calibrated on; none: it was not.
  int64_t validation_images = 0;
  double temperature = 1;
  std::map<std::string, double> metrics;  // of the corrected probabilities
};

struct PredictResult {
  size_t images = 0;
  // Over the images whose label is known; empty if there are none.
  std::map<std::string, double> metrics;
  std::optional<PriorCorrectionResult> correction = std::nullopt;
};

// Reads `card_path` (empty: <model_path>.json). DATA_LOSS: the model file's
// SHA-256 is not the card's.
absl::StatusOr<ModelCard> LoadModelCard(const std::string& model_path,
                                        const std::string& card_path);

// What a run's plan says about its model (site_model.h); of no file.
absl::StatusOr<ModelCard> CardOfRun(const std::string& run_folder);

// Applies the model to the test split of `data` (opened for kPredict) and
// writes one line an image: name, label if known, predicted class, and the
// probability of each class; with a correction, then the predicted class and
// the probabilities after it. The file appears complete or not at all.
// INVALID_ARGUMENT: shares that do not fit the classes. FAILED_PRECONDITION:
// the correction has neither labelled images nor training priors.
absl::StatusOr<PredictResult> Predict(const PredictOptions& options,
                                      const DataSource& data,
                                      const ProgressSink& progress);

}  // namespace fedgraft
