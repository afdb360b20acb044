#include "aggregator/admin/model_export.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/config/plan_json.h"
#include "common/crypto/sha256.h"
#include "common/model/trainable_set.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

// Tensors to write, and the widened copies that some of them view.
struct Merged {
  std::map<std::string, TensorToWrite> tensors;
  std::vector<std::vector<float>> widened;
};

absl::Status Lay(const SafetensorsFile& file, Merged& merged) {
  for (const auto& [name, view] : file.tensors()) {
    TensorToWrite tensor{view.dtype, view.shape, view.data};
    if (view.dtype == DType::kF16 || view.dtype == DType::kBF16) {
      FG_ASSIGN_OR_RETURN(std::vector<float> values, file.ReadFloats(name));
      merged.widened.push_back(std::move(values));
      const std::vector<float>& kept = merged.widened.back();
      tensor.dtype = DType::kF32;
      tensor.data = {reinterpret_cast<const uint8_t*>(kept.data()),
                     kept.size() * sizeof(float)};
    }
    merged.tensors[name] = std::move(tensor);
  }
  return absl::OkStatus();
}

std::string Card(const Plan& plan, const ExportFacts& facts,
                 const Digest& digest) {
  nlohmann::json card;
  card["format"] = "fedgraft-model-card/1";
  card["sha256"] = digest.Hex();
  card["architecture"] = plan.architecture;
  card["backbone_sha256"] = plan.backbone.Hex();
  card["plan"] = nlohmann::json::parse(PlanToJson(plan));
  card["plan_hash"] = plan.hash.Hex();
  card["classes"] = plan.classes;
  card["preprocessing"] = card["plan"]["preprocessing"];
  card["run"] = facts.run.value;
  card["rounds"] = facts.rounds;
  card["sites"] = nlohmann::json::array();
  for (const SiteId& site : facts.sites) card["sites"].push_back(site.value);
  card["metrics"] = facts.metrics;
  card["batch_norm"] =
      plan.batch_norm == BatchNormPolicy::kLocal
          ? "local: each site keeps its own BatchNorm layers; this file holds "
            "the pretrained ones"
          : "included";
  card["head"] = plan.personal.kind == PersonalKind::kLocalHead
                     ? "local: each site keeps its own; this file holds none"
                     : "included";
  card["intended_use"] =
      "Research. Not a medical device; validate locally before any use.";
  return card.dump(2);
}

}  // namespace

absl::StatusOr<ExportedModel> ExportModel(const Plan& plan,
                                          const ExportFacts& facts,
                                          const SafetensorsFile& backbone,
                                          ByteSpan trained) {
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
