#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/data/data_source_factory.h"
#include "client/train/apply_arguments.h"
#include "client/train/command_line.h"
#include "client/train/watch.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/config/config_loader.h"
#include "proto/config.pb.h"

namespace fedgraft {
namespace {

struct Arguments {
  WatchOptions options;
  ApplyArguments apply;
  std::string config_path;
  bool json = false;
};

// The site's own cache, if it has one whose key is there.
FeatureCacheSpec CacheOf(const pb::ClientConfig& config) {
  FeatureCacheSpec spec;
  const pb::CacheConfig& cache = config.cache();
  if (cache.size_max_mib() <= 0) return spec;
  spec.bytes_max = static_cast<uint64_t>(cache.size_max_mib()) << 20;
  spec.half = cache.precision() == "f16";
  if (cache.encrypt()) {
    spec.key_file = cache.key_file().empty()
                        ? absl::StrCat(config.state_dir(), "/features.key")
                        : cache.key_file();
    if (!std::filesystem::exists(spec.key_file)) return FeatureCacheSpec();
  }
  spec.folder = absl::StrCat(config.state_dir(), "/features");
  return spec;
}

absl::Status Run(Arguments arguments, bool& is_alarm) {
  WatchOptions& options = arguments.options;
  FG_ASSIGN_OR_RETURN(const pb::ClientConfig config,
                      LoadClientConfig(arguments.config_path));
  FG_RETURN_IF_ERROR(LoadCard(arguments.apply, options.model));
  const std::vector<std::string>& classes = options.model.card.classes;
  FG_ASSIGN_OR_RETURN(
      const std::unique_ptr<DataSource> own,
      OpenDataSource(config.data(), {classes, DataUse::kTrain}));
  FG_ASSIGN_OR_RETURN(const std::unique_ptr<DataSource> arrived,
                      OpenImages(arguments.apply, options.model));
  options.cache = CacheOf(config);
  options.history_folder = absl::StrCat(config.state_dir(), "/watch");
  const ProgressSink silent = [](double, std::string_view) {
    return absl::OkStatus();
  };
  FG_ASSIGN_OR_RETURN(const WatchOutcome outcome,
                      Watch(options, *own, *arrived, silent));
  const std::string text = arguments.json
                               ? WatchJson(outcome, classes, options.level)
                               : WatchText(outcome, classes, options.level);
  std::printf("%s\n", text.c_str());
  is_alarm = outcome.IsAlarm();
  return absl::OkStatus();
}

}  // namespace

void AddWatchDataCommand(CLI::App& app, bool& is_alarm, absl::Status& status) {
  auto arguments = std::make_shared<Arguments>();
  WatchOptions& options = arguments->options;
  CLI::App* command = app.add_subcommand(
      "watch-data",
      "Compare new images, without labels, with this site's own, and estimate "
      "how well the model does on them; nothing leaves");
  command
      ->add_option("--config", arguments->config_path,
                   "This site's config, as of `fedgraft-client run`: its data "
                   "are compared with, its state_dir keeps the charts")
      ->required();
  AddApplyOptions(*command, options.model, arguments->apply);
  command
      ->add_option("--level", options.level,
                   "Share of batches that raise an alarm although nothing "
                   "changed")
      ->check(CLI::Range(1e-6, 0.5))
      ->capture_default_str();
  command->add_flag("--json", arguments->json, "JSON instead of a table");
  command->add_flag("--acknowledge", options.acknowledges,
                    "The change that a chart shows is known: charts begin anew "
                    "after this batch");
  command->add_flag("!--no-history", options.remembers,
                    "Do not count this batch");
  command->footer(
      "Exit codes: 0 quiet, 10 alarm, 1 failed. Give it one batch of new "
      "images\n"
      "at a time, 20 or more, such as a week's; the same batch counts once.\n"
      "Writes only <state_dir>/watch and the feature cache.\n"
      "Example:\n"
      "  fedgraft-client watch-data --config client.yaml "
      "--run /var/lib/fedgraft/runs/0123abcd --data week-31/");
  command->callback(
      [arguments, &is_alarm, &status] { status = Run(*arguments, is_alarm); });
}

}  // namespace fedgraft
