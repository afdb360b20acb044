#include "client/train/predict.h"

#include <torch/torch.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "client/data/feature_source.h"
#include "client/data/preprocess.h"
#include "client/model/graft.h"
#include "client/model/network_state.h"
#include "client/train/activation_store.h"
#include "client/train/compute.h"
#include "client/train/guard.h"
#include "client/train/learner.h"
#include "client/train/path_io.h"
#include "client/train/site_metrics.h"
#include "client/train/site_model.h"
#include "common/base/status_macros.h"
#include "common/config/identity.h"
#include "common/crypto/sha256.h"
#include "common/model/safetensors.h"

namespace fedgraft {
namespace {

// A CSV field (RFC 4180).
std::string Field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

std::string Csv(const std::vector<Sample>& samples,
                const std::vector<std::string>& classes,
                const Predictions& predictions) {
  std::string csv = "image,label,predicted";
  for (const std::string& name : classes) {
    absl::StrAppend(&csv, ",", Field("p_" + name));
  }
  csv += "\n";
  for (size_t i = 0; i < samples.size(); ++i) {
    const absl::Span<const float> row = predictions.Row(i);
    const auto best = std::max_element(row.begin(), row.end()) - row.begin();
    const int label = predictions.labels[i];
    absl::StrAppend(&csv, Field(samples[i].name), ",",
                    label < 0 ? "" : Field(classes[label]), ",",
                    Field(classes[best]));
    for (float probability : row)
      absl::StrAppendFormat(&csv, ",%.7g", probability);
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

absl::StatusOr<Predictions> ClassifyExported(const PredictOptions& options,
                                             const DataSource& data,
                                             const ProgressSink& progress) {
  FG_ASSIGN_OR_RETURN(Compute compute, SetUpCompute(options.compute));
  const ModelCard& card = options.card;
  const bool identity = card.architecture == kIdentity;
  FG_RETURN_IF_ERROR(CheckFeatureDim(data, card.feature_dim));
  FG_ASSIGN_OR_RETURN(Preprocessor preprocessor,
                      identity ? Preprocessor::ForFeatures(card.feature_dim)
                               : Preprocessor::Create(card.preprocessing));
  FG_ASSIGN_OR_RETURN(SafetensorsFile file,
                      SafetensorsFile::Open(options.model_path));
  const auto num_classes = static_cast<int64_t>(card.classes.size());
  FG_ASSIGN_OR_RETURN(std::shared_ptr<Network> network,
                      identity ? BuildIdentity(card.feature_dim, num_classes)
                               : BuildModel(card.architecture, num_classes));
  Plan plan;
  plan.classes = card.classes;
  plan.architecture = card.architecture;
  plan.hidden_dim = card.hidden_dim;
  if (card.bottleneck.has_value()) {
    plan.strategy = StrategyKind::kAdapter;
    plan.adapter = *card.bottleneck;
  }
  FG_RETURN_IF_ERROR(GraftOnto(plan, *network));
  absl::Status loaded = LoadState(file, HeadPolicy::kRequire, *network);
  if (!loaded.ok()) return Annotate(loaded, options.model_path);
  FG_ASSIGN_OR_RETURN(ParameterLayout layout, WholeLayout(*network));
  FG_ASSIGN_OR_RETURN(
      std::unique_ptr<Learner> learner,
      Learner::Create(plan, std::move(layout), network, compute));
  ActivationStore::Options images;
  images.network = network.get();
  images.compute = &compute;
  images.source = &data;
  images.preprocessor = &preprocessor;
  images.split = Split::kTest;
  images.bytes_max = 0;  // every image is needed once
  FG_ASSIGN_OR_RETURN(std::unique_ptr<ActivationStore> store,
                      ActivationStore::Create(images, progress));
  return learner->Predict(*store, progress);
}

absl::StatusOr<Predictions> Classify(const PredictOptions& options,
                                     const DataSource& data,
                                     const ProgressSink& progress) {
  if (options.run_folder.empty()) {
    return ClassifyExported(options, data, progress);
  }
  FG_ASSIGN_OR_RETURN(const std::unique_ptr<SiteModel> model,
                      SiteModel::Open(options.run_folder, options.is_personal,
                                      options.compute));
  return model->Predict(data, progress);
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
  FG_ASSIGN_OR_RETURN(Predictions predictions, CatchTorch([&] {
                        return Classify(options, data, progress);
                      }));
  const std::vector<Sample>& samples = data.Samples(Split::kTest);
  FG_RETURN_IF_ERROR(
      WriteFile(options.out_path,
                AsBytes(Csv(samples, options.card.classes, predictions))));
  return PredictResult{samples.size(), SiteMetrics(Labelled(predictions), "")};
}

}  // namespace fedgraft
