#pragma once

#include <map>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "client/data/preprocess.h"
#include "client/features/feature_cache.h"
#include "client/train/activation_store.h"
#include "client/train/compute.h"
#include "client/train/learner.h"
#include "client/train/session.h"

namespace fedgraft {

// Names the space of the plan's activations that enter `stage`, as `compute`
// computes them (client/features/feature_space.h).
Digest ActivationSpace(const Plan& plan, int stage, const Compute& compute,
                       bool half);

// A session's activation stores by split, each made when it is first asked for
// and kept.
//
// What it is given outlives it. Not thread-safe.
class SessionStores {
 public:
  // `cache` may be null.
  SessionStores(const SessionConfig& config, const Compute& compute,
                const Preprocessor& preprocessor, Learner& learner,
                FeatureCache* cache)
      : config_(config),
        compute_(compute),
        preprocessor_(preprocessor),
        learner_(learner),
        cache_(cache) {}

  // The images themselves.
  absl::StatusOr<ActivationStore*> Images(Split split,
                                          const ProgressSink& progress) {
    return Get(split, /*views=*/false, progress);
  }
  // What training sees: with kept views (plan.augmentation), those.
  absl::StatusOr<ActivationStore*> Training(const ProgressSink& progress) {
    return Get(Split::kTrain, KeepsViews(), progress);
  }
  // True if Training has nothing left to compute.
  bool HasTraining() const {
    return stores_.contains({Split::kTrain, KeepsViews()});
  }

 private:
  bool KeepsViews() const {
    const AugmentationSpec& augmentation = config_.plan.augmentation;
    return augmentation.any() && augmentation.views > 0;
  }
  absl::StatusOr<ActivationStore*> Get(Split split, bool views,
                                       const ProgressSink& progress);

  const SessionConfig& config_;
  const Compute& compute_;
  const Preprocessor& preprocessor_;
  Learner& learner_;
  FeatureCache* const cache_;
  // By split, and whether they hold random views for training.
  std::map<std::pair<Split, bool>, std::unique_ptr<ActivationStore>> stores_;
};

}  // namespace fedgraft
