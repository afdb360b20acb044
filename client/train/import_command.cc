#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/import/checkpoint.h"
#include "client/import/import_backbone.h"
#include "client/train/command_line.h"
#include "client/train/path_io.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"

namespace fedgraft {
namespace {

constexpr size_t kListedMax = 8;

struct Arguments {
  ImportOptions options;
  std::vector<std::string> renames;  // OLD=NEW
  std::string in_path, out_path;
};

absl::Status ParseRenames(Arguments& arguments) {
  for (const std::string& text : arguments.renames) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--rename: expected OLD=NEW, found ", text));
    }
    arguments.options.renames.emplace_back(text.substr(0, equals),
                                           text.substr(equals + 1));
  }
  return absl::OkStatus();
}

void PrintList(const char* what, const std::vector<std::string>& items) {
  if (items.empty()) return;
  std::printf("%s %zu:\n", what, items.size());
  for (size_t i = 0; i < items.size() && i < kListedMax; ++i) {
    std::printf("  %s\n", items[i].c_str());
  }
  if (items.size() > kListedMax) {
    std::printf("  and %zu more\n", items.size() - kListedMax);
  }
}

absl::Status Run(Arguments arguments) {
  FG_RETURN_IF_ERROR(ParseRenames(arguments));
  FG_ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint,
                      OpenCheckpoint(arguments.in_path));
  absl::StatusOr<ImportedBackbone> backbone =
      ImportBackbone(*checkpoint, arguments.options);
  if (!backbone.ok()) return Annotate(backbone.status(), arguments.in_path);
  FG_RETURN_IF_ERROR(WriteFile(arguments.out_path, backbone->safetensors));
  PrintList("renamed", backbone->renamed);
  PrintList("dropped", backbone->dropped);
  PrintList("converted", backbone->converted);
  std::printf(
      "wrote %s: %s, %zu tensors, %zu bytes\n"
      "sha256 %s\n"
      "The head is not used: each plan makes its own for its classes.\n",
      arguments.out_path.c_str(), arguments.options.architecture.c_str(),
      backbone->num_tensors, backbone->safetensors.size(),
      Sha256(backbone->safetensors).Hex().c_str());
  return absl::OkStatus();
}

}  // namespace

void AddImportCommand(CLI::App& app, absl::Status& status) {
  auto arguments = std::make_shared<Arguments>();
  ImportOptions& options = arguments->options;
  CLI::App* command = app.add_subcommand(
      "import",
      "Make a backbone file of a Python checkpoint (.pth, .pt, .safetensors)");
  command
      ->add_option("--architecture", options.architecture,
                   "Whose tensors the checkpoint holds, as in plans")
      ->required();
  command
      ->add_option("--in", arguments->in_path,
                   "A state_dict, alone or under \"state_dict\" or \"model\"; "
                   "nothing in it is run")
      ->required();
  command
      ->add_option("--out", arguments->out_path,
                   "Safetensors file to write; its SHA-256 goes into plans")
      ->required();
  command->add_option("--strip-prefix", options.strip_prefix,
                      "Taken from the start of names: module.");
  command->add_option("--rename", arguments->renames,
                      "OLD=NEW: the first OLD in each name becomes NEW");
  command->add_option("--head-prefix", options.head_prefix,
                      "The checkpoint's name of the classifier, if it is not "
                      "the architecture's; its number of classes is free");
  command
      ->add_option("--input-channels", options.input_channels,
                   "Of the checkpoint's first layer; 1 becomes 3")
      ->check(CLI::IsMember({1, 3}))
      ->capture_default_str();
  command->footer(
      "Example, of a model trained on grey images by several GPUs:\n"
      "  fedgraft-client import --architecture resnet50 --in chest.pth "
      "--strip-prefix module. --input-channels 1 --out chest.safetensors");
  command->callback([arguments, &status] { status = Run(*arguments); });
}

}  // namespace fedgraft
