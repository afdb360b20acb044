#include "client/train/model_card.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/data/feature_source.h"
#include "common/base/status_macros.h"
#include "common/config/identity.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

using Json = nlohmann::json;

// The plan's own limits.
constexpr int kHiddenDimMax = 65536;
constexpr int kReductionMax = 256;

constexpr std::pair<const char*, Interpolation> kInterpolations[] = {
    {"nearest", Interpolation::kNearest},
    {"bilinear", Interpolation::kBilinear},
    {"bicubic", Interpolation::kBicubic},
    {"area", Interpolation::kArea}};
constexpr std::pair<const char*, AspectPolicy> kAspects[] = {
    {"stretch", AspectPolicy::kStretch},
    {"pad", AspectPolicy::kPad},
    {"center_crop", AspectPolicy::kCenterCrop}};

absl::Status Wrong(const char* key, const char* expected) {
  return absl::InvalidArgumentError(
      absl::StrCat("key \"", key, "\": expected ", expected));
}

template <typename Table, typename Value>
absl::Status ParseName(const Json& object, const char* key, const Table& table,
                       Value& value) {
  if (!object.contains(key)) return absl::OkStatus();  // keeps the default
  for (const auto& [name, entry] : table) {
    if (object[key] == name) {
      value = entry;
      return absl::OkStatus();
    }
  }
  std::string known;
  for (const auto& entry : table) {
    absl::StrAppend(&known, known.empty() ? "" : ", ", entry.first);
  }
  return Wrong(key, known.c_str());
}

template <typename Table, typename Value>
const char* NameOf(const Table& table, Value value) {
  for (const auto& [name, entry] : table) {
    if (entry == value) return name;
  }
  return "";
}

absl::Status ParseNumbers(const Json& object, const char* key,
                          std::vector<double>& values) {
  if (!object.contains(key)) return absl::OkStatus();
  if (!object[key].is_array()) return Wrong(key, "a list of numbers");
  for (const Json& value : object[key]) {
    if (!value.is_number()) return Wrong(key, "a list of numbers");
    values.push_back(value.get<double>());
  }
  return absl::OkStatus();
}

absl::StatusOr<PreprocessingSpec> ParsePreprocessing(const Json& card) {
  if (!card.contains("preprocessing") || !card["preprocessing"].is_object()) {
    return Wrong("preprocessing", "an object");
  }
  const Json& object = card["preprocessing"];
  PreprocessingSpec spec;
  if (!object.contains("size") || !object["size"].is_number_integer()) {
    return Wrong("preprocessing.size", "a whole number");
  }
  spec.size = object["size"].get<int>();
  FG_RETURN_IF_ERROR(
      ParseName(object, "interpolation", kInterpolations, spec.interpolation));
  FG_RETURN_IF_ERROR(ParseName(object, "aspect", kAspects, spec.aspect));
  FG_RETURN_IF_ERROR(ParseNumbers(object, "mean", spec.mean));
  FG_RETURN_IF_ERROR(ParseNumbers(object, "std", spec.std));
  if (object.contains("invert")) {
    if (!object["invert"].is_boolean()) return Wrong("invert", "true or false");
    spec.invert = object["invert"].get<bool>();
  }
  return spec;
}

// Cards without the entry have a linear head.
absl::Status ParseHead(const Json& card, ModelCard& result) {
  if (!card.contains("head")) return absl::OkStatus();
  const Json& head = card["head"];
  if (!head.is_object() || !head.contains("kind")) {
    return Wrong("head", "an object with a kind");
  }
  if (head["kind"] == "linear") return absl::OkStatus();
  if (head["kind"] != "residual_mlp") {
    return Wrong("head.kind", "linear or residual_mlp");
  }
  if (!head.contains("hidden_dim") || !head["hidden_dim"].is_number_integer() ||
      head["hidden_dim"] < 1 || head["hidden_dim"] > kHiddenDimMax) {
    return Wrong("head.hidden_dim", "a whole number from 1 to 65536");
  }
  result.hidden_dim = head["hidden_dim"].get<int>();
  return absl::OkStatus();
}

// Cards without the entry have no adapters, or merged ones.
absl::Status ParseAdapter(const Json& card, ModelCard& result) {
  if (!card.contains("adapter")) return absl::OkStatus();
  const Json& adapter = card["adapter"];
  if (!adapter.is_object() || !adapter.contains("kind")) {
    return Wrong("adapter", "an object with a kind");
  }
  if (adapter["kind"] != "bottleneck") return absl::OkStatus();
  AdapterSpec spec;
  spec.kind = AdapterKind::kBottleneck;
  if (!adapter.contains("reduction") ||
      !adapter["reduction"].is_number_integer() || adapter["reduction"] < 1 ||
      adapter["reduction"] > kReductionMax) {
    return Wrong("adapter.reduction", "a whole number from 1 to 256");
  }
  spec.reduction = adapter["reduction"].get<int>();
  if (!adapter.contains("targets") || !adapter["targets"].is_array()) {
    return Wrong("adapter.targets", "a list of globs");
  }
  for (const Json& glob : adapter["targets"]) {
    if (!glob.is_string()) return Wrong("adapter.targets", "a list of globs");
    spec.targets.push_back(glob.get<std::string>());
  }
  result.bottleneck = std::move(spec);
  return absl::OkStatus();
}

absl::StatusOr<ModelCard> Parse(const Json& card) {
  ModelCard result;
  if (!card.is_object()) {
    return absl::InvalidArgumentError("is not a JSON object");
  }
  for (const char* key : {"architecture", "sha256"}) {
    if (!card.contains(key) || !card[key].is_string()) {
      return Wrong(key, "a text");
    }
  }
  result.architecture = card["architecture"].get<std::string>();
  FG_ASSIGN_OR_RETURN(result.sha256,
                      Digest::FromHex(card["sha256"].get<std::string>()));
  if (card.contains("head") && card["head"].is_object() &&
      card["head"].value("kind", Json()) == "none") {
    return absl::InvalidArgumentError(
        "a backbone without a head cannot predict: train a head on it first");
  }
  if (!card.contains("classes") || !card["classes"].is_array() ||
      card["classes"].size() < 2) {
    return Wrong("classes", "a list of at least two names");
  }
  for (const Json& name : card["classes"]) {
    if (!name.is_string()) return Wrong("classes", "a list of names");
    result.classes.push_back(name.get<std::string>());
  }
  FG_RETURN_IF_ERROR(
      ParseNumbers(card, "training_priors", result.training_priors));
  FG_RETURN_IF_ERROR(ParseHead(card, result));
  FG_RETURN_IF_ERROR(ParseAdapter(card, result));
  if (result.architecture == kIdentity) {
    if (!card.contains("feature_dim") ||
        !card["feature_dim"].is_number_integer() || card["feature_dim"] < 1 ||
        card["feature_dim"] > kFeatureDimMax) {
      return Wrong("feature_dim", "the length of the feature vectors");
    }
    result.feature_dim = card["feature_dim"].get<int>();
    return result;
  }
  FG_ASSIGN_OR_RETURN(result.preprocessing, ParsePreprocessing(card));
  return result;
}

}  // namespace

absl::StatusOr<ModelCard> ParseModelCard(std::string_view json,
                                         std::string_view name) {
  const Json card = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (card.is_discarded()) {
    return absl::InvalidArgumentError(
        absl::StrCat(std::string(name), " is not JSON"));
  }
  absl::StatusOr<ModelCard> result = Parse(card);
  if (!result.ok()) return Annotate(result.status(), name);
  return result;
}

std::string PreprocessingJson(const PreprocessingSpec& spec) {
  const Json json = {
      {"size", spec.size},
      {"interpolation", NameOf(kInterpolations, spec.interpolation)},
      {"aspect", NameOf(kAspects, spec.aspect)},
      {"mean", spec.mean},
      {"std", spec.std},
      {"invert", spec.invert}};
  return json.dump();
}

std::string PretrainCard(const ModelCard& card, const PretrainFacts& facts) {
  const Json json = {
      {"format", "fedgraft-backbone-card/1"},
      {"architecture", card.architecture},
      {"classes", card.classes},
      {"sha256", card.sha256.Hex()},
      {"preprocessing", Json::parse(PreprocessingJson(card.preprocessing))},
      {"start", facts.start},
      {"epochs", facts.epochs},
      {"seed", facts.seed},
      {"train_images", facts.train_images},
      {"metrics", facts.metrics}};
  return json.dump(2) + "\n";
}

}  // namespace fedgraft
