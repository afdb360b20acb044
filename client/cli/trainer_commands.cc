#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/program_path.h"

namespace fedgraft {
namespace {

// Replaces this process by `fedgraft-trainer <command> <arguments>`.
absl::Status ExecTrainer(const std::string& command,
                         const std::vector<std::string>& arguments) {
  const std::string trainer = SiblingProgram("fedgraft-trainer");
  std::vector<std::string> words = {trainer, command};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  execv(trainer.c_str(), argv.data());
  return absl::FailedPreconditionError(
      absl::StrCat("cannot start ", trainer, ": ", std::strerror(errno)));
}

void AddPassThrough(CLI::App& app, absl::Status& status,
                    const std::string& name, const std::string& help) {
  CLI::App* command = app.add_subcommand(name, help);
  command->prefix_command();
  // The trainer prints its own, complete help.
  command->set_help_flag();
  command->callback([command, name, &status] {
    status = ExecTrainer(name, command->remaining());
  });
}

}  // namespace

void AddTrainerCommands(CLI::App& app, absl::Status& status) {
  AddPassThrough(app, status, "pretrain",
                 "Train a backbone at a centre (see: pretrain --help)");
  AddPassThrough(app, status, "predict",
                 "Apply an exported model to images (see: predict --help)");
  AddPassThrough(app, status, "watch-data",
                 "Compare new images with this site's own (see: watch-data "
                 "--help)");
  AddPassThrough(app, status, "rank",
                 "Score backbones on this site's images (see: rank --help)");
  AddPassThrough(app, status, "import",
                 "Make a backbone of a Python checkpoint (see: import --help)");
}

}  // namespace fedgraft
