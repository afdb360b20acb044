#include "client/train/ssl_command.h"

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/data/data_source_factory.h"
#include "client/train/progress_line.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/config/config_loader.h"
#include "proto/config.pb.h"

namespace fedgraft {
namespace {

constexpr const char* kGroup = "Without labels (--method simclr or vicreg)";

struct OptionRule {
  const char* name;
  std::string_view methods;  // that have it
};
constexpr OptionRule kRules[] = {{"--classes", "supervised"},
                                 {"--scanner-jitter", "supervised"},
                                 {"--warmup", "simclr vicreg"},
                                 {"--temperature", "simclr"},
                                 {"--vicreg-weights", "vicreg"},
                                 {"--projector", "simclr vicreg"},
                                 {"--crop-area-min", "simclr vicreg"},
                                 {"--rotate-degrees", "simclr vicreg"},
                                 {"--brightness", "simclr vicreg"},
                                 {"--contrast", "simclr vicreg"},
                                 {"--blur-sigma-max", "simclr vicreg"},
                                 {"--checkpoint-every", "simclr vicreg"},
                                 {"--restart", "simclr vicreg"}};

void Print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void AddViewOptions(CLI::App& command, RandomViewSpec& views) {
  command
      .add_option("--crop-area-min", views.crop_area_min,
                  "Smallest random crop, as a share of the image's area")
      ->check(CLI::Range(0.01, 1.0))
      ->capture_default_str()
      ->group(kGroup);
  command
      .add_option("--rotate-degrees", views.rotate_degrees,
                  "Turned by up to this, either way")
      ->check(CLI::Range(0.0, 180.0))
      ->capture_default_str()
      ->group(kGroup);
  command
      .add_option("--brightness", views.brightness,
                  "Brightness is multiplied by 1 +- up to this")
      ->check(CLI::Range(0.0, 0.99))
      ->capture_default_str()
      ->group(kGroup);
  command
      .add_option("--contrast", views.contrast,
                  "Contrast is multiplied by 1 +- up to this")
      ->check(CLI::Range(0.0, 0.99))
      ->capture_default_str()
      ->group(kGroup);
  command
      .add_option("--blur-sigma-max", views.blur_sigma_max,
                  "Pixels; half of the views are blurred by up to this")
      ->check(CLI::Range(0.0, 10.0))
      ->capture_default_str()
      ->group(kGroup);
}

}  // namespace

void AddSslOptions(CLI::App& command, SelfSupervisedOptions& options) {
  command
      .add_option("--warmup", options.warmup,
                  "Share of the steps over which the learning rate rises")
      ->check(CLI::Range(0.0, 0.99))
      ->capture_default_str()
      ->group(kGroup);
  command
      .add_option("--temperature", options.temperature,
                  "simclr: of the similarities")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(kGroup);
  command
      .add_option_function<std::vector<double>>(
          "--vicreg-weights",
          [&options](const std::vector<double>& weights) {
            options.invariance = weights[0];
            options.variance = weights[1];
            options.covariance = weights[2];
          },
          "vicreg: of invariance, variance, covariance [25,25,1]")
      ->delimiter(',')
      ->expected(3)
      ->check(CLI::NonNegativeNumber)
      ->group(kGroup);
  command
      .add_option("--projector", options.projector,
                  "Sizes of the layers between features and loss, thrown away "
                  "afterwards [simclr 512,128; vicreg 512,512,512]")
      ->delimiter(',')
      ->check(CLI::Range(1, 65536))
      ->group(kGroup);
  AddViewOptions(command, options.views);
  command
      .add_option("--checkpoint-every", options.checkpoint_every,
                  "Steps between states kept in OUT.checkpoint, from which the "
                  "same command goes on after it was ended; 0: none")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str()
      ->group(kGroup);
  command.add_flag("--restart")
      ->description("Begin anew although there is a checkpoint")
      ->group(kGroup);
}

absl::Status CheckSslOptions(const CLI::App& command,
                             const std::string& method) {
  for (const OptionRule& rule : kRules) {
    const bool allowed = rule.methods.find(method) != std::string_view::npos;
    if (!allowed && command.count(rule.name) > 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(rule.name, " is of --method ", std::string(rule.methods),
                       ", not of ", method));
    }
  }
  return absl::OkStatus();
}

absl::Status RunSsl(const SelfSupervisedOptions& options,
                    const std::string& data_path, bool restart,
                    const Clock& clock) {
  FG_ASSIGN_OR_RETURN(const pb::DataConfig config, LoadDataConfig(data_path));
  if (config.kind() == "embeddings_npz" || config.kind() == "table") {
    return absl::InvalidArgumentError(
        "--data: expected images, found feature vectors");
  }
  FG_ASSIGN_OR_RETURN(const std::unique_ptr<DataSource> data,
                      OpenDataSource(config, {{}, DataUse::kTrain}));
  for (const std::string& warning : data->Warnings()) {
    FG_LOG_WARNING("data: {}", warning);
  }
  if (restart) {
    std::error_code error;
    std::filesystem::remove(CheckpointPath(options), error);
    if (error) {
      return absl::UnavailableError(
          absl::StrCat(CheckpointPath(options), ": ", error.message()));
    }
  }
  Print(absl::StrCat(options.architecture, " on ",
                     data->Samples(Split::kTrain).size(),
                     " images without labels\n"));
  absl::StatusOr<SslResult> result;
  {
    ProgressLine line(clock, TerminalColumns(), Print);
    result = PretrainSelfSupervised(options, *data,
                                    [&line](const SslProgress& progress) {
                                      line.Show(progress);
                                      return absl::OkStatus();
                                    });
  }
  FG_RETURN_IF_ERROR(result.status());
  Print(absl::StrFormat("features of %s: deviation %.3f, effective rank %.1f\n",
                        options.out_path, result->feature_deviation,
                        result->feature_rank));
  if (result->collapsed) {
    FG_LOG_WARNING(
        "the embeddings have collapsed: they hardly tell images apart (see "
        "`spread` in {}.json); train longer, or try another learning rate or "
        "batch size",
        options.out_path);
  }
  Print(absl::StrCat("wrote ", options.out_path, "  sha256 ",
                     result->sha256.Hex(), "\n"));
  return absl::OkStatus();
}

}  // namespace fedgraft
