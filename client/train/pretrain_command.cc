#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/data/data_source_factory.h"
#include "client/train/command_line.h"
#include "client/train/pretrain.h"
#include "client/train/ssl_command.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/config/config_loader.h"

namespace fedgraft {
namespace {

struct Arguments {
  PretrainOptions options;
  SelfSupervisedOptions ssl;  // what only these methods have
  std::string method = "supervised";
  std::string data_path;
  std::string optimizer = "adamw";
};

void PrintEpoch(const PretrainEpoch& epoch) {
  std::string line =
      absl::StrFormat("epoch %d/%d  loss %.4f  %.1f s", epoch.epoch,
                      epoch.epochs, epoch.loss, epoch.seconds);
  for (const char* name : {"accuracy", "auc"}) {
    auto it = epoch.metrics.find(name);
    if (it != epoch.metrics.end()) {
      absl::StrAppendFormat(&line, "  val %s %.4f", name, it->second);
    }
  }
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

// The options that both kinds of training have go from one to the other, but
// for those that differ unless they are given.
absl::Status RunWithoutLabels(Arguments arguments, const CLI::App& command,
                              const Clock& clock) {
  SelfSupervisedOptions& ssl = arguments.ssl;
  const PretrainOptions& options = arguments.options;
  ssl.method =
      arguments.method == "simclr" ? SslMethod::kSimClr : SslMethod::kVicReg;
  ssl.architecture = options.architecture;
  ssl.start_path = options.start_path;
  ssl.out_path = options.out_path;
  ssl.preprocessing = options.preprocessing;
  ssl.views.horizontal_flip = options.augmentation.horizontal_flip;
  if (command.count("--epochs") > 0) ssl.epochs = options.epochs;
  if (command.count("--batch-size") > 0) ssl.batch_size = options.batch_size;
  ssl.optimizer = options.optimizer;
  ssl.seed = options.seed;
  ssl.compute = options.compute;
  return RunSsl(ssl, arguments.data_path, command.count("--restart") > 0,
                clock);
}

absl::Status Run(Arguments arguments, const CLI::App& command,
                 const Clock& clock) {
  PretrainOptions& options = arguments.options;
  FG_RETURN_IF_ERROR(CheckSslOptions(command, arguments.method));
  options.optimizer.kind = arguments.optimizer == "adamw"
                               ? OptimizerKind::kAdamW
                               : OptimizerKind::kSgd;
  if (arguments.method != "supervised") {
    return RunWithoutLabels(std::move(arguments), command, clock);
  }
  FG_ASSIGN_OR_RETURN(const pb::DataConfig config,
                      LoadDataConfig(arguments.data_path));
  if (options.classes.empty()) {
    if (config.kind() != "phantom") {
      return absl::InvalidArgumentError(
          "--classes is needed: the names of the labels, label 0 first");
    }
    options.classes = {"no_lesion", "lesion"};
  }
  if (config.kind() == "embeddings_npz" || config.kind() == "table") {
    return absl::InvalidArgumentError(
        "--data: expected images, found feature vectors");
  }
  FG_ASSIGN_OR_RETURN(
      const std::unique_ptr<DataSource> data,
      OpenDataSource(config, {options.classes, DataUse::kTrain}));
  for (const std::string& warning : data->Warnings()) {
    FG_LOG_WARNING("data: {}", warning);
  }
  std::printf("%s on %zu images (%zu for validation)\n",
              options.architecture.c_str(), data->Samples(Split::kTrain).size(),
              data->Samples(Split::kVal).size());
  std::fflush(stdout);
  FG_ASSIGN_OR_RETURN(const Digest digest,
                      Pretrain(options, *data, clock, PrintEpoch));
  std::printf("wrote %s  sha256 %s\n", options.out_path.c_str(),
              digest.Hex().c_str());
  return absl::OkStatus();
}

void AddTrainingOptions(CLI::App& command, Arguments& arguments) {
  PretrainOptions& options = arguments.options;
  command.add_option("--epochs", options.epochs, "Without labels: 20")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command.add_option("--batch-size", options.batch_size, "Without labels: 64")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command.add_option("--optimizer", arguments.optimizer)
      ->check(CLI::IsMember({"sgd", "adamw"}))
      ->capture_default_str();
  command
      .add_option("--learning-rate", options.optimizer.learning_rate,
                  "The highest; falls as a cosine")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--weight-decay", options.optimizer.weight_decay)
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_flag("--flip", options.augmentation.horizontal_flip,
                   "Mirror images at random");
  command
      .add_option("--scanner-jitter", options.scanner_jitter,
                  "Vary blur, gain and gamma of training images, 0 to 1, for "
                  "a backbone that serves other scanners (learns more slowly)")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command.add_option("--seed", options.seed)->capture_default_str();
  command.add_option("--threads", options.compute.threads, "0: all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command.add_option("--device", options.compute.device, "auto, cpu, cuda:N")
      ->capture_default_str();
}

}  // namespace

void AddPretrainCommand(CLI::App& app, const Clock& clock,
                        absl::Status& status) {
  auto arguments = std::make_shared<Arguments>();
  PretrainOptions& options = arguments->options;
  options.optimizer.learning_rate = 0.001;
  options.optimizer.weight_decay = 1e-4;
  options.preprocessing.size = 64;
  CLI::App* command = app.add_subcommand(
      "pretrain",
      "Train a backbone from scratch or from another one, on labelled images "
      "or (simclr, vicreg) on images without labels");
  command
      ->add_option("--method", arguments->method,
                   "supervised, simclr or vicreg")
      ->check(CLI::IsMember({"supervised", "simclr", "vicreg"}))
      ->capture_default_str();
  command
      ->add_option("--architecture", options.architecture,
                   "resnet18, resnet34, resnet50, mobilenet_v2, densenet121, "
                   "squeezenet1_1")
      ->capture_default_str();
  command
      ->add_option("--data", arguments->data_path,
                   "YAML: what stands under `data` in a client's config")
      ->required();
  command
      ->add_option("--out", options.out_path,
                   "Safetensors file to write; its card is FILE.json")
      ->required();
  command->add_option("--init,--backbone", options.start_path,
                      "Safetensors file to start from; default: scratch");
  command
      ->add_option("--classes", options.classes,
                   "Names of the labels, label 0 first: a,b,c")
      ->delimiter(',');
  command->add_option("--image-size", options.preprocessing.size)
      ->check(CLI::Range(16, 2048))
      ->capture_default_str();
  command
      ->add_option("--mean", options.preprocessing.mean,
                   "Subtracted from values in [0, 1]: one or three numbers")
      ->delimiter(',');
  command->add_option("--std", options.preprocessing.std, "Divided by")
      ->delimiter(',');
  AddTrainingOptions(*command, *arguments);
  AddSslOptions(*command, arguments->ssl);
  command->footer(
      "Examples, on synthetic radiographs, with and without their labels:\n"
      "  echo '{kind: phantom, phantom: {train: 3000, size: 64}}' >data.yaml\n"
      "  fedgraft-client pretrain --data data.yaml --out backbone.safetensors\n"
      "  fedgraft-client pretrain --data data.yaml --out backbone.safetensors "
      "\\\n"
      "    --method simclr --epochs 20");
  command->callback([arguments, command, &clock, &status] {
    status = Run(*arguments, *command, clock);
  });
}

}  // namespace fedgraft
