#include "client/train/ssl_card.h"

#include "client/train/model_card.h"
#include "common/crypto/sha256.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

using Json = nlohmann::json;

Json LossOf(const SelfSupervisedOptions& options) {
  if (options.method == SslMethod::kSimClr) {
    return {{"temperature", options.temperature}};
  }
  return {{"invariance", options.invariance},
          {"variance", options.variance},
          {"covariance", options.covariance}};
}

Json AugmentationOf(const RandomViewSpec& views) {
  return {{"crop_area_min", views.crop_area_min},
          {"rotate_degrees", views.rotate_degrees},
          {"horizontal_flip", views.horizontal_flip},
          {"brightness", views.brightness},
          {"contrast", views.contrast},
          {"blur_sigma_max", views.blur_sigma_max}};
}

Json OptimizerOf(const SelfSupervisedOptions& options) {
  const OptimizerSpec& spec = options.optimizer;
  const bool adamw = spec.kind == OptimizerKind::kAdamW;
  Json json = {{"kind", adamw ? "adamw" : "sgd"},
               {"learning_rate", spec.learning_rate},
               {"weight_decay", spec.weight_decay},
               {"warmup", options.warmup}};
  if (adamw) {
    json["betas"] = {spec.beta1, spec.beta2};
  } else {
    json["momentum"] = spec.momentum;
  }
  return json;
}

Json SettingsOf(const SelfSupervisedOptions& options, const SslTask& task) {
  return {
      {"format", "fedgraft-backbone-card/1"},
      {"method", options.method == SslMethod::kSimClr ? "simclr" : "vicreg"},
      {"architecture", options.architecture},
      {"head", {{"kind", "none"}}},
      {"preprocessing", Json::parse(PreprocessingJson(options.preprocessing))},
      {"start", task.start},
      {"train_images", task.images},
      {"data_sha256", task.data_sha256.Hex()},
      {"epochs", options.epochs},
      {"batch_size", options.batch_size},
      {"seed", options.seed},
      {"optimizer", OptimizerOf(options)},
      {"loss", LossOf(options)},
      {"projector", ProjectorSizes(options)},
      {"augmentation", AugmentationOf(options.views)}};
}

}  // namespace

std::vector<int64_t> ProjectorSizes(const SelfSupervisedOptions& options) {
  if (!options.projector.empty()) return options.projector;
  if (options.method == SslMethod::kSimClr) return {512, 128};
  return {512, 512, 512};
}

Digest SslTaskDigest(const SelfSupervisedOptions& options,
                     const SslTask& task) {
  return Sha256(AsBytes(SettingsOf(options, task).dump()));
}

std::string SslCard(const SelfSupervisedOptions& options, const SslTask& task,
                    const SslResult& result) {
  Json json = SettingsOf(options, task);
  json["sha256"] = result.sha256.Hex();
  json["losses"] = {{"first_epoch", result.first_loss},
                    {"last_epoch", result.last_loss}};
  json["spread"] = {{"features",
                     {{"deviation", result.feature_deviation},
                      {"effective_rank", result.feature_rank}}},
                    {"projections",
                     {{"deviation", result.projection_deviation},
                      {"effective_rank", result.projection_rank}}}};
  json["collapsed"] = result.collapsed;
  return json.dump(2) + "\n";
}

}  // namespace fedgraft
