#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "client/data/data_source.h"
#include "client/train/model_card.h"
#include "client/train/session.h"

namespace fedgraft {

// An exported model and its card, checked against each other; or what a run
// left at this site, and the card of that.
struct PredictOptions {
  std::string model_path;
  std::string run_folder;    // empty: `model_path`
  bool is_personal = false;  // of the run: the site's personal model
  ModelCard card;
  std::string out_path;  // CSV
  ComputeSpec compute;
};

struct PredictResult {
  size_t images = 0;
  // Over the images whose label is known; empty if there are none.
  std::map<std::string, double> metrics;
};

// Reads `card_path` (empty: <model_path>.json). DATA_LOSS: the model file's
// SHA-256 is not the card's.
absl::StatusOr<ModelCard> LoadModelCard(const std::string& model_path,
                                        const std::string& card_path);

// What a run's plan says about its model (site_model.h); of no file.
absl::StatusOr<ModelCard> CardOfRun(const std::string& run_folder);

// Applies the model to the test split of `data` (opened for kPredict) and
// writes one line an image: name, label if known, predicted class, and the
// probability of each class. The file appears complete or not at all.
absl::StatusOr<PredictResult> Predict(const PredictOptions& options,
                                      const DataSource& data,
                                      const ProgressSink& progress);

}  // namespace fedgraft
