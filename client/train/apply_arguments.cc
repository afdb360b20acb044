#include "client/train/apply_arguments.h"

#include <filesystem>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/data/data_source_factory.h"
#include "client/train/predict.h"
#include "common/base/status_macros.h"
#include "common/config/config_loader.h"
#include "common/config/identity.h"
#include "proto/config.pb.h"

namespace fedgraft {
namespace {

bool IsYaml(const std::string& path) {
  const std::string extension =
      std::filesystem::path(path).extension().string();
  return extension == ".yaml" || extension == ".yml";
}

// Of a file that is no YAML.
absl::StatusOr<pb::DataConfig> ConfigOf(const std::string& path,
                                        const char* option,
                                        const ApplyArguments& arguments,
                                        const ModelChoice& model) {
  const bool features = model.card.architecture == kIdentity;
  const bool npz = std::filesystem::path(path).extension() == ".npz";
  if (features && !npz) {
    return absl::InvalidArgumentError(absl::StrCat(
        option,
        ": expected an NPZ file or, for a table, a YAML file that says what "
        "its columns are, because the model takes feature vectors; found ",
        path));
  }
  pb::DataConfig config;
  config.set_kind(features ? "embeddings_npz" : npz ? "npz" : "folder");
  config.set_path(path);
  config.set_root(arguments.root);
  config.set_image_column(arguments.image_column);
  config.set_label_column(arguments.label_column);
  config.set_shard_count(1);
  config.set_image_megapixels_max(arguments.megapixels_max);
  return config;
}

}  // namespace

void AddApplyOptions(CLI::App& command, ModelChoice& model,
                     ApplyArguments& arguments) {
  CLI::Option_group* which = command.add_option_group("Model");
  CLI::Option* file =
      which->add_option("--model", model.model_path,
                        "Safetensors file of `fedgraft-aggregator export`");
  CLI::Option* run = which->add_option(
      "--run", model.run_folder,
      "A finished run's folder, <state_dir>/runs/<run>: its model with this "
      "site's own BatchNorm layers, head or intercepts");
  which->require_option(1);
  command
      .add_flag("--personal", model.is_personal,
                "This site's personal model (personal.kind: ditto) instead of "
                "the shared one")
      ->needs(run);
  command
      .add_option("--card", arguments.card_path,
                  "The model's card; default: MODEL.json")
      ->needs(file);
  command
      .add_option("--data", arguments.data_path,
                  "A folder of images, a CSV manifest, an NPZ file (its "
                  "test_images or test_features), or YAML: what stands under "
                  "`data` in a client's config")
      ->required();
  command.add_option("--root", arguments.root,
                     "Where a manifest's images lie; default: beside it");
  command.add_option("--image-column", arguments.image_column)
      ->capture_default_str();
  command.add_option("--label-column", arguments.label_column)
      ->capture_default_str();
  command.add_option("--image-megapixels-max", arguments.megapixels_max)
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command.add_option("--threads", model.compute.threads, "0: all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command.add_option("--device", model.compute.device, "auto, cpu, cuda:N")
      ->capture_default_str();
}

absl::Status LoadCard(const ApplyArguments& arguments, ModelChoice& model) {
  FG_ASSIGN_OR_RETURN(model.card,
                      model.run_folder.empty()
                          ? LoadModelCard(model.model_path, arguments.card_path)
                          : CardOfRun(model.run_folder));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<DataSource>> OpenImages(
    const ApplyArguments& arguments, const ModelChoice& model) {
  const std::string& path = arguments.data_path;
  FG_ASSIGN_OR_RETURN(const pb::DataConfig config,
                      IsYaml(path)
                          ? LoadDataConfig(path)
                          : ConfigOf(path, "--data", arguments, model));
  return OpenDataSource(config, {model.card.classes, DataUse::kPredict});
}

absl::StatusOr<std::unique_ptr<DataSource>> OpenLabelledImages(
    const std::string& path, const ApplyArguments& arguments,
    const ModelChoice& model) {
  const DataContext splits{model.card.classes, DataUse::kTrain};
  if (IsYaml(path)) {
    const absl::StatusOr<pb::DataConfig> data = LoadDataConfig(path);
    if (data.ok()) return OpenDataSource(*data, splits);
    const absl::StatusOr<pb::ClientConfig> client = LoadClientConfig(path);
    if (client.ok()) return OpenDataSource(client->data(), splits);
    return data.status();
  }
  FG_ASSIGN_OR_RETURN(const pb::DataConfig config,
                      ConfigOf(path, "--validation", arguments, model));
  if (config.kind() != "folder") return OpenDataSource(config, splits);
  return OpenDataSource(config, {model.card.classes, DataUse::kPredict});
}

}  // namespace fedgraft
