#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "client/data/preprocess.h"
#include "client/features/feature_cache.h"
#include "client/train/activation_store.h"
#include "client/train/compute.h"
#include "client/train/described_records.h"
#include "client/train/learner.h"
#include "client/train/local_state.h"
#include "client/train/model_choice.h"
#include "client/train/session.h"
#include "client/train/site_metrics.h"
#include "common/config/plan.h"
#include "common/model/safetensors.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// Beside a run's plan a session keeps, in the site's state folder, the models
// that it localised (site_intercept, normalization: per_site), by the SHA-256
// of the shared one: `site_head/<digest>.safetensors`.
inline constexpr char kPlanFile[] = "plan.pb";
inline constexpr char kSiteHeadFolder[] = "site_head";

// The plan of the run in `run_folder`, a folder in `runs` of a client's
// state_dir. NOT_FOUND: this site did not take part in it.
absl::StatusOr<Plan> ReadRunPlan(const std::string& run_folder);

// A finished model as this site applies it: an exported one; or a run's, the
// shared one with what stays at the site (BatchNorm layers, a head, intercepts,
// normalisation), or the site's personal model.
//
// Not thread-safe. May throw c10::Error.
class SiteModel {
 public:
  // A run's is made from what it left in its folder, and the backbone beside
  // `runs`. NOT_FOUND: the run has not finished here, or this site never
  // evaluated a model that it localises; FAILED_PRECONDITION: `is_personal` of
  // a plan without personal models. Errors name the file.
  static absl::StatusOr<std::unique_ptr<SiteModel>> Open(
      const ModelChoice& choice);

  // Answers for a split, whose labels may be missing. INVALID_ARGUMENT:
  // feature vectors of another length than the model's.
  absl::StatusOr<Predictions> Predict(const DataSource& data, Split split,
                                      const ProgressSink& progress);
  // The same with features and acquisition numbers. `cache` may be null;
  // `half`: what it keeps is rounded.
  absl::StatusOr<DescribedRecords> Describe(const DataSource& data, Split split,
                                            FeatureCache* cache, bool half,
                                            const ProgressSink& progress);
  // Of all values that it applies.
  const Digest& digest() const { return digest_; }
  // Whether training moved what the head gets: of the records that it was
  // trained on, the features are then unlike those of any others.
  bool trains_features() const;

 private:
  SiteModel() = default;
  absl::Status OpenRun(const ModelChoice& choice);
  absl::Status OpenExported(const ModelChoice& choice);
  // Gives the learner the shared model's values, localised.
  absl::Status TakeShared(const std::string& run_folder, FileStore& files,
                          const SafetensorsFile& backbone);
  ActivationStore::Options ImagesOf(const DataSource& data, Split split) const;
  absl::Status TakePersonal(FileStore& files, const SafetensorsFile& backbone);

  Plan plan_;
  Digest digest_;
  Compute compute_;
  std::optional<Preprocessor> preprocessor_;
  std::unique_ptr<Learner> learner_;
};

}  // namespace fedgraft
