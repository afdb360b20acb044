#include "client/train/session_stores.h"

#include <torch/version.h>

#include "absl/strings/str_cat.h"
#include "client/features/feature_space.h"
#include "common/base/status_macros.h"
#include "common/config/identity.h"

namespace fedgraft {

Digest ActivationSpace(const Plan& plan, int stage, const Compute& compute,
                       bool half) {
  FeatureSpaceSpec spec;
  spec.backbone = plan.backbone;
  spec.architecture = plan.architecture;
  spec.stage = stage;
  spec.preprocessing = plan.preprocessing;
  spec.half = half;
  // GPUs, narrow types and other kernels round differently.
  spec.numerics =
      absl::StrCat(compute.device.is_cuda() ? "cuda" : "cpu", " ",
                   static_cast<int>(compute.autocast), " ", TORCH_VERSION);
  return FeatureSpace(spec);
}

absl::StatusOr<ActivationStore*> SessionStores::Get(
    Split split, bool views, const ProgressSink& progress) {
  std::unique_ptr<ActivationStore>& store = stores_[{split, views}];
  if (store == nullptr) {
    const Plan& plan = config_.plan;
    const AugmentationSpec& augmentation = plan.augmentation;
    // New views in every epoch: of the images themselves. (Without rounds of
    // training there are no epochs.)
    const bool at_images = split == Split::kTrain && plan.rounds > 0 &&
                           augmentation.any() && augmentation.views == 0;
    ActivationStore::Options options;
    options.network = &learner_.network();
    options.compute = &compute_;
    options.source = config_.data.get();
    options.preprocessor = &preprocessor_;
    options.split = split;
    options.stage = at_images ? 0 : learner_.boundary();
    options.cache = cache_;
    options.half = cache_ != nullptr && config_.cache.half;
    options.space =
        ActivationSpace(plan, options.stage, compute_, options.half);
    // Looks compare the training images themselves.
    options.measures_acquisition = plan.shift.every > 0 && HasBackbone(plan) &&
                                   split == Split::kTrain && !views;
    // What the policy keeps here is not even noted.
    if (options.measures_acquisition && plan.shift.devices &&
        config_.share_devices) {
      options.device_seed = plan.seed;
    }
    if (views) {
      options.views = augmentation.views;
      options.augmentation = augmentation;
      options.seed = plan.seed;
    }
    FG_ASSIGN_OR_RETURN(store,
                        ActivationStore::Create(std::move(options), progress));
  }
  return store.get();
}

}  // namespace fedgraft
