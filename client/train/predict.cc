#include "client/train/predict.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "client/data/feature_source.h"
#include "client/train/corrected_predictions.h"
#include "client/train/guard.h"
#include "client/train/path_io.h"
#include "client/train/site_metrics.h"
#include "client/train/site_model.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"

namespace fedgraft {
namespace {

// A CSV field (RFC 4180).
std::string Field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

void AppendAnswers(const std::vector<std::string>& classes,
                   absl::Span<const float> row, std::string& csv) {
  const auto best = std::max_element(row.begin(), row.end()) - row.begin();
  absl::StrAppend(&csv, ",", Field(classes[best]));
  for (float probability : row) {
    absl::StrAppendFormat(&csv, ",%.7g", probability);
  }
}

// `corrected`: null if there is no correction.
std::string Csv(const std::vector<Sample>& samples,
                const std::vector<std::string>& classes,
                const Predictions& predictions, const Predictions* corrected) {
  std::string csv = "image,label,predicted";
  for (const std::string& name : classes) {
    absl::StrAppend(&csv, ",", Field("p_" + name));
  }
  if (corrected != nullptr) {
    csv += ",corrected";
    for (const std::string& name : classes) {
      absl::StrAppend(&csv, ",", Field("corrected_p_" + name));
    }
  }
  csv += "\n";
  for (size_t i = 0; i < samples.size(); ++i) {
    const int label = predictions.labels[i];
    absl::StrAppend(&csv, Field(samples[i].name), ",",
                    label < 0 ? "" : Field(classes[label]));
    AppendAnswers(classes, predictions.Row(i), csv);
    if (corrected != nullptr) {
      AppendAnswers(classes, corrected->Row(i), csv);
    }
    csv += "\n";
  }
  return csv;
}

Predictions Labelled(const Predictions& all) {
  Predictions labelled;
  labelled.classes = all.classes;
  for (size_t i = 0; i < all.count(); ++i) {
    if (all.labels[i] < 0) continue;
    const absl::Span<const float> row = all.Row(i);
    labelled.probabilities.insert(labelled.probabilities.end(), row.begin(),
                                  row.end());
    labelled.labels.push_back(all.labels[i]);
    labelled.losses.push_back(all.losses[i]);
  }
  return labelled;
}

struct Answers {
  Predictions raw;
  std::optional<CorrectedPredictions> corrected;
};

absl::StatusOr<Predictions> PredictValidation(const PriorCorrectionSpec& spec,
                                              const DataSource& data,
                                              SiteModel& model,
                                              const ProgressSink& progress) {
  if (!spec.training_priors.empty()) return Predictions();
  const bool is_own = spec.validation == nullptr;
  const DataSource& source = is_own ? data : *spec.validation;
  const bool has_split = !source.Samples(Split::kVal).empty();
  if (!has_split && is_own) return Predictions();
  FG_ASSIGN_OR_RETURN(
      const Predictions all,
      model.Predict(source, has_split ? Split::kVal : Split::kTest, progress));
  return Labelled(all);
}

absl::StatusOr<Answers> Answer(const PredictOptions& options,
                               const DataSource& data,
                               const ProgressSink& progress) {
  // Before a large file is read.
  FG_RETURN_IF_ERROR(CheckFeatureDim(data, options.card.feature_dim));
  FG_ASSIGN_OR_RETURN(const std::unique_ptr<SiteModel> model,
                      SiteModel::Open(options));
  Answers answers;
  FG_ASSIGN_OR_RETURN(answers.raw,
                      model->Predict(data, Split::kTest, progress));
  PriorCorrectionSpec spec = options.correction;
  if (spec.kind == PriorCorrectionKind::kNone) return answers;
  FG_ASSIGN_OR_RETURN(const Predictions validation,
                      PredictValidation(spec, data, *model, progress));
  if (validation.count() == 0 && spec.training_priors.empty()) {
    spec.training_priors = options.card.training_priors;
  }
  FG_ASSIGN_OR_RETURN(answers.corrected,
                      CorrectPredictions(spec, answers.raw, validation));
  return answers;
}

}  // namespace

absl::StatusOr<ModelCard> CardOfRun(const std::string& run_folder) {
  FG_ASSIGN_OR_RETURN(const Plan plan, ReadRunPlan(run_folder));
  ModelCard card;
  card.architecture = plan.architecture;
  card.classes = plan.classes;
  card.preprocessing = plan.preprocessing;
  card.feature_dim = plan.feature_dim;
  return card;
}

absl::StatusOr<ModelCard> LoadModelCard(const std::string& model_path,
                                        const std::string& card_path) {
  const std::string path = card_path.empty() ? model_path + ".json" : card_path;
  FG_ASSIGN_OR_RETURN(Bytes json, ReadFile(path));
  FG_ASSIGN_OR_RETURN(ModelCard card, ParseModelCard(AsText(json), path));
  FG_ASSIGN_OR_RETURN(Bytes model, ReadFile(model_path));
  const Digest digest = Sha256(model);
  if (digest != card.sha256) {
    return absl::DataLossError(absl::StrCat(model_path, " has SHA-256 ",
                                            digest.Hex(), "; its card ", path,
                                            " says ", card.sha256.Hex()));
  }
  return card;
}

absl::StatusOr<PredictResult> Predict(const PredictOptions& options,
                                      const DataSource& data,
                                      const ProgressSink& progress) {
  FG_ASSIGN_OR_RETURN(Answers answers, CatchTorch([&] {
                        return Answer(options, data, progress);
                      }));
  const std::vector<Sample>& samples = data.Samples(Split::kTest);
  const Predictions* corrected =
      answers.corrected.has_value() ? &answers.corrected->predictions : nullptr;
  FG_RETURN_IF_ERROR(WriteFile(
      options.out_path,
      AsBytes(Csv(samples, options.card.classes, answers.raw, corrected))));
  PredictResult result;
  result.images = samples.size();
  result.metrics = SiteMetrics(Labelled(answers.raw), "");
  if (corrected != nullptr) {
    result.correction = std::move(answers.corrected->result);
    result.correction->metrics = SiteMetrics(Labelled(*corrected), "");
  }
  return result;
}

}  // namespace fedgraft
