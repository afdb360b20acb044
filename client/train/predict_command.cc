#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/data/data_source_factory.h"
#include "client/train/command_line.h"
#include "client/train/predict.h"
#include "common/base/status_macros.h"
#include "common/config/config_loader.h"
#include "common/config/identity.h"
#include "proto/config.pb.h"

namespace fedgraft {
namespace {

struct Arguments {
  PredictOptions options;
  std::string card_path, data_path, root;
  std::string image_column = "path", label_column = "label";
  int megapixels_max = 100;
};

absl::StatusOr<pb::DataConfig> DataOf(const Arguments& arguments) {
  const std::filesystem::path extension =
      std::filesystem::path(arguments.data_path).extension();
  if (extension == ".yaml" || extension == ".yml") {
    return LoadDataConfig(arguments.data_path);
  }
  const bool features = arguments.options.card.architecture == kIdentity;
  const bool npz = extension == ".npz";
  if (features && !npz) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--data: expected an NPZ file or, for a table, a YAML file that says "
        "what its columns are, because the model takes feature vectors; found ",
        arguments.data_path));
  }
  pb::DataConfig config;
  config.set_kind(features ? "embeddings_npz" : npz ? "npz" : "folder");
  config.set_path(arguments.data_path);
  config.set_root(arguments.root);
  config.set_image_column(arguments.image_column);
  config.set_label_column(arguments.label_column);
  config.set_shard_count(1);
  config.set_image_megapixels_max(arguments.megapixels_max);
  return config;
}

absl::Status Run(Arguments arguments) {
  PredictOptions& options = arguments.options;
  FG_ASSIGN_OR_RETURN(
      options.card, options.run_folder.empty()
                        ? LoadModelCard(options.model_path, arguments.card_path)
                        : CardOfRun(options.run_folder));
  FG_ASSIGN_OR_RETURN(const pb::DataConfig config, DataOf(arguments));
  FG_ASSIGN_OR_RETURN(
      const std::unique_ptr<DataSource> data,
      OpenDataSource(config, {options.card.classes, DataUse::kPredict}));
  const ProgressSink silent = [](double, std::string_view) {
    return absl::OkStatus();
  };
  FG_ASSIGN_OR_RETURN(const PredictResult result,
                      Predict(options, *data, silent));
  std::printf("wrote %s: %zu images\n", options.out_path.c_str(),
              result.images);
  for (const auto& [name, value] : result.metrics) {
    std::printf("%s %.6g\n", name.c_str(), value);
  }
  return absl::OkStatus();
}

}  // namespace

void AddPredictCommand(CLI::App& app, absl::Status& status) {
  auto arguments = std::make_shared<Arguments>();
  PredictOptions& options = arguments->options;
  CLI::App* command = app.add_subcommand(
      "predict",
      "Apply a model to images: an exported one, or a run's with what of it "
      "stays at this site; writes a CSV file");
  CLI::Option_group* which = command->add_option_group("Model");
  CLI::Option* model =
      which->add_option("--model", options.model_path,
                        "Safetensors file of `fedgraft-aggregator export`");
  CLI::Option* run = which->add_option(
      "--run", options.run_folder,
      "A finished run's folder, <state_dir>/runs/<run>: its model with this "
      "site's own BatchNorm layers, head or intercepts");
  which->require_option(1);
  command
      ->add_flag("--personal", options.is_personal,
                 "This site's personal model (personal.kind: ditto) instead of "
                 "the shared one")
      ->needs(run);
  command
      ->add_option("--card", arguments->card_path,
                   "The model's card; default: MODEL.json")
      ->needs(model);
  command
      ->add_option("--data", arguments->data_path,
                   "A folder of images, a CSV manifest, an NPZ file (its "
                   "test_images or test_features), or YAML: what stands under "
                   "`data` in a client's config")
      ->required();
  command->add_option("--out", options.out_path, "CSV file to write")
      ->required();
  command->add_option("--root", arguments->root,
                      "Where a manifest's images lie; default: beside it");
  command->add_option("--image-column", arguments->image_column)
      ->capture_default_str();
  command->add_option("--label-column", arguments->label_column)
      ->capture_default_str();
  command->add_option("--image-megapixels-max", arguments->megapixels_max)
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--threads", options.compute.threads, "0: all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command->add_option("--device", options.compute.device, "auto, cpu, cuda:N")
      ->capture_default_str();
  command->footer(
      "Example:\n"
      "  fedgraft-client predict --model model.safetensors --data images/ "
      "--out probabilities.csv\n"
      "  fedgraft-client predict --run /var/lib/fedgraft/runs/0123abcd "
      "--data images/ --out probabilities.csv");
  command->callback([arguments, &status] { status = Run(*arguments); });
}

}  // namespace fedgraft
