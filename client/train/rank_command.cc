#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/data/data_source_factory.h"
#include "client/train/command_line.h"
#include "client/train/rank.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/config/config_loader.h"
#include "common/transfer/feature_moments.h"

namespace fedgraft {
namespace {

struct Arguments {
  RankOptions options;
  std::string data_path;
  std::vector<std::string> backbones, classes = {"2"};
  bool json = false;
};

// ARCHITECTURE=FILE.
absl::StatusOr<RankOptions::Backbone> ParseBackbone(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--backbone: expected ARCHITECTURE=FILE, not \"", text, "\""));
  }
  return RankOptions::Backbone{text.substr(0, equals), text.substr(equals + 1)};
}

// Names, or how many there are (then they are called 0, 1, ...).
absl::StatusOr<std::vector<std::string>> ParseClasses(
    const std::vector<std::string>& classes) {
  if (classes.size() >= 2) return classes;
  int count = 0;
  if (classes.empty() || !absl::SimpleAtoi(classes[0], &count) || count < 2 ||
      count > FeatureMomentsLayout::kClassesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--classes: expected the names of at least 2 labels, or a number from "
        "2 to ",
        FeatureMomentsLayout::kClassesMax, ", not \"",
        classes.empty() ? "" : classes[0], "\""));
  }
  std::vector<std::string> names;
  for (int c = 0; c < count; ++c) names.push_back(absl::StrCat(c));
  return names;
}

absl::Status Run(Arguments arguments, const Clock& clock) {
  RankOptions& options = arguments.options;
  for (const std::string& text : arguments.backbones) {
    FG_ASSIGN_OR_RETURN(RankOptions::Backbone backbone, ParseBackbone(text));
    options.backbones.push_back(std::move(backbone));
  }
  FG_ASSIGN_OR_RETURN(const std::vector<std::string> classes,
                      ParseClasses(arguments.classes));
  options.num_classes = static_cast<int>(classes.size());
  FG_ASSIGN_OR_RETURN(const pb::DataConfig config,
                      LoadDataConfig(arguments.data_path));
  FG_ASSIGN_OR_RETURN(const std::unique_ptr<DataSource> data,
                      OpenDataSource(config, {classes, DataUse::kTrain}));
  for (const std::string& warning : data->Warnings()) {
    FG_LOG_WARNING("data: {}", warning);
  }
  const ProgressSink silent = [](double, std::string_view) {
    return absl::OkStatus();
  };
  FG_ASSIGN_OR_RETURN(const std::vector<BackboneScore> scores,
                      RankBackbones(options, *data, clock, silent));
  if (arguments.json) {
    std::printf("%s\n", RankJson(scores).c_str());
    return absl::OkStatus();
  }
  std::printf("%zu training images, %d classes; best LogME first\n\n%s",
              data->Samples(Split::kTrain).size(), options.num_classes,
              RankTable(scores).c_str());
  return absl::OkStatus();
}

}  // namespace

void AddRankCommand(CLI::App& app, const Clock& clock, absl::Status& status) {
  auto arguments = std::make_shared<Arguments>();
  RankOptions& options = arguments->options;
  CLI::App* command = app.add_subcommand(
      "rank",
      "Score backbones on this site's training images without training: LogME, "
      "H-score, k-NN; nothing leaves");
  command
      ->add_option("--data", arguments->data_path,
                   "YAML: what stands under `data` in a client's config")
      ->required();
  command
      ->add_option("--backbone", arguments->backbones,
                   "ARCHITECTURE=FILE (safetensors); repeatable")
      ->required();
  command
      ->add_option("--classes", arguments->classes,
                   "Names of the labels, label 0 first: a,b,c; or how many")
      ->delimiter(',')
      ->capture_default_str();
  command
      ->add_option("--image-size", options.preprocessing.size,
                   "As in the plan to come, like --mean and --std")
      ->check(CLI::Range(16, 2048))
      ->capture_default_str();
  command
      ->add_option("--mean", options.preprocessing.mean,
                   "Subtracted from values in [0, 1]: one or three numbers")
      ->delimiter(',');
  command->add_option("--std", options.preprocessing.std, "Divided by")
      ->delimiter(',');
  command->add_flag("--json", arguments->json, "JSON instead of a table");
  command->add_option("--threads", options.compute.threads, "0: all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command->add_option("--device", options.compute.device, "auto, cpu, cuda:N")
      ->capture_default_str();
  command->footer(
      "Higher is better. With no more images than features, H-score is the\n"
      "number of classes less 1 for any backbone: look at `H shrunk`.\n"
      "Example, two backbones pretrained on ImageNet:\n"
      "  fedgraft-client rank --data data.yaml --image-size 128 \\\n"
      "    --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 \\\n"
      "    --backbone mobilenet_v2=mobilenet_v2.safetensors \\\n"
      "    --backbone squeezenet1_1=squeezenet1_1.safetensors");
  command->callback(
      [arguments, &clock, &status] { status = Run(*arguments, clock); });
}

}  // namespace fedgraft
