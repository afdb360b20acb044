#include "aggregator/admin/model_export.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/config/identity.h"
#include "common/config/plan_json.h"
#include "common/crypto/sha256.h"
#include "common/model/control_variates.h"
#include "common/model/lora_merge.h"
#include "common/model/trainable_set.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

// Tensors to write, and the widened copies that some of them view.
struct Merged {
  std::map<std::string, TensorToWrite> tensors;
  std::vector<std::vector<float>> widened;

  // Takes the values over.
  void Add(const std::string& name, const std::vector<int64_t>& shape,
           std::vector<float> values) {
    widened.push_back(std::move(values));
    const std::vector<float>& kept = widened.back();
    tensors[name] = {DType::kF32,
                     shape,
                     {reinterpret_cast<const uint8_t*>(kept.data()),
                      kept.size() * sizeof(float)}};
  }
};

absl::Status Lay(const SafetensorsFile& file, Merged& merged) {
  for (const auto& [name, view] : file.tensors()) {
    if (IsLoraTensor(name) || name.starts_with(kControlVariatePrefix)) continue;
    if (view.dtype == DType::kF16 || view.dtype == DType::kBF16) {
      FG_ASSIGN_OR_RETURN(std::vector<float> values, file.ReadFloats(name));
      merged.Add(name, view.shape, std::move(values));
    } else {
      merged.tensors[name] = {view.dtype, view.shape, view.data};
    }
  }
  return absl::OkStatus();
}

nlohmann::json HeadEntry(const Plan& plan) {
  if (plan.hidden_dim == 0) return {{"kind", "linear"}};
  return {{"kind", "residual_mlp"},
          {"hidden_dim", plan.hidden_dim},
          {"formula",
           "W x + b + V relu(U x + c); W, b: <head>.weight, .bias; U, c: "
           "<head>.hidden.weight, .bias; V: <head>.out.weight"}};
}

nlohmann::json AdapterEntry(const Plan& plan) {
  if (plan.strategy != StrategyKind::kAdapter) return {{"kind", "none"}};
  switch (plan.adapter.kind) {
    case AdapterKind::kLora:
      return {{"kind", "lora"}, {"merged", true}};
    case AdapterKind::kLoraPlain:
      return {{"kind", "lora_plain"}, {"merged", true}};
    case AdapterKind::kBatchNormTune:
      return {{"kind", "bn_tune"}, {"merged", true}};
    case AdapterKind::kBottleneck:
      break;
  }
  return {{"kind", "bottleneck"},
          {"merged", false},
          {"reduction", plan.adapter.reduction},
          {"targets", plan.adapter.targets},
          {"formula",
           "x + up(relu(down(x))) behind each block that has "
           "<block>.adapter.down and .up"}};
}

// Shares of the classes that the model learned; empty: not known, or a class
// without a record.
std::vector<double> TrainingPriors(const Plan& plan,
                                   const std::vector<double>& counts) {
  double total = 0;
  for (double count : counts) {
    if (!(count > 0)) return {};
    total += count;
  }
  std::vector<double> priors;
  for (double count : counts) {
    priors.push_back(plan.loss.class_weights == ClassWeights::kNone
                         ? count / total
                         : 1 / static_cast<double>(counts.size()));
  }
  return priors;
}

std::string Card(const Plan& plan, const ExportFacts& facts,
                 const Digest& digest) {
  nlohmann::json card;
  card["format"] = "fedgraft-model-card/1";
  card["sha256"] = digest.Hex();
  card["architecture"] = plan.architecture;
  if (HasBackbone(plan)) {
    card["backbone_sha256"] = plan.backbone.Hex();
  } else {
    card["feature_dim"] = plan.feature_dim;
  }
  card["plan"] = nlohmann::json::parse(PlanToJson(plan));
  card["plan_hash"] = plan.hash.Hex();
  card["classes"] = plan.classes;
  card["preprocessing"] = card["plan"]["preprocessing"];
  card["run"] = facts.run.value;
  card["rounds"] = facts.rounds;
  card["sites"] = nlohmann::json::array();
  for (const SiteId& site : facts.sites) card["sites"].push_back(site.value);
  card["metrics"] = facts.metrics;
  const std::vector<double> priors = TrainingPriors(plan, facts.class_counts);
  if (!priors.empty()) card["training_priors"] = priors;
  card["batch_norm"] =
      plan.batch_norm == BatchNormPolicy::kLocal
          ? "local: each site keeps its own BatchNorm layers; this file holds "
            "the pretrained ones"
          : "included";
  card["head"] = HeadEntry(plan);
  card["adapter"] = AdapterEntry(plan);
  // A foreign program may load the file as that architecture, or it may not.
  card["has_torchvision_names_only"] =
      plan.hidden_dim == 0 && card["adapter"].value("merged", true);
  if (plan.personal.kind == PersonalKind::kLocalHead) {
    card["head"]["where"] = "each site keeps its own; this file holds none";
  }
  card["intended_use"] =
      "Research. Not a medical device; validate locally before any use.";
  return card.dump(2);
}

}  // namespace

absl::StatusOr<ExportedModel> ExportModel(const Plan& plan,
                                          const ExportFacts& facts,
                                          const SafetensorsFile& backbone,
                                          ByteSpan trained) {
  if (plan.solver.kind != SolverKind::kNone &&
      plan.solver.normalization == Normalization::kPerSite) {
    return absl::FailedPreconditionError(
        "the run's head is for features that each site normalises by its own "
        "moments (solver.normalization: per_site), which are not here; it "
        "cannot be exported. Run the plan with normalization: pooled");
  }
  FG_ASSIGN_OR_RETURN(
      const SafetensorsFile set,
      SafetensorsFile::Parse(ToBytes(trained), "trainable set"));
  Merged merged;
  FG_RETURN_IF_ERROR(Lay(backbone, merged));
  if (plan.personal.kind == PersonalKind::kLocalHead) {
    // The pretrained head is of other classes.
    FG_ASSIGN_OR_RETURN(const Architecture architecture,
                        FindArchitecture(plan.architecture));
    std::erase_if(merged.tensors, [&architecture](const auto& tensor) {
      return tensor.first.starts_with(architecture.head_prefix + ".");
    });
  }
  FG_RETURN_IF_ERROR(Lay(set, merged));
  FG_ASSIGN_OR_RETURN(auto weights, MergeLora(plan, backbone, set));
  for (auto& [name, values] : weights) {
    merged.Add(name, backbone.tensors().at(name).shape, std::move(values));
  }
  ExportedModel model;
  FG_ASSIGN_OR_RETURN(
      model.safetensors,
      EncodeSafetensors(merged.tensors, {{"format", "pt"},
                                         {"architecture", plan.architecture},
                                         {"plan_hash", plan.hash.Hex()},
                                         {"run", facts.run.value}}));
  model.card_json = Card(plan, facts, Sha256(model.safetensors));
  return model;
}

}  // namespace fedgraft
