#include <cstdio>
#include <memory>
#include <set>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "aggregator/admin/model_export.h"
#include "aggregator/cli/commands.h"
#include "aggregator/round/journal_reader.h"
#include "common/base/status_macros.h"
#include "common/config/config_loader.h"
#include "common/model/backbone_file.h"
#include "common/model/trainable_set.h"
#include "common/runtime/posix_file_store.h"
#include "common/runtime/text_file.h"
#include "common/shift/look.h"

namespace fedgraft {
namespace {

struct ExportArguments {
  std::string config_path;
  std::string backbone_path;
  std::string out_path;
};

ExportFacts FactsOf(const RunState& state) {
  ExportFacts facts;
  facts.run = state.run()->id;
  std::set<SiteId> sites;
  for (const RoundRecord& round : state.history()) {
    facts.rounds = round.round.value;
    sites.insert(round.sites.begin(), round.sites.end());
    if (!round.metrics.empty()) facts.metrics = round.metrics;
  }
  facts.sites.assign(sites.begin(), sites.end());
  return facts;
}

// Training records of all sites by class, as the newest look at shift (if it
// got so far) has summed them.
absl::StatusOr<std::vector<double>> ClassCounts(
    const RunState& state, FileStore& files, const Plan& plan,
    const SafetensorsFile& backbone) {
  const ModelRef& pooled = state.look().pooled;
  if (plan.shift.every == 0 || pooled.size_bytes == 0) {
    return std::vector<double>();
  }
  FG_ASSIGN_OR_RETURN(const Bytes content, ReadModel(files, pooled));
  FG_ASSIGN_OR_RETURN(const ParameterLayout layout,
                      TrainableLayout(plan, backbone));
  FG_ASSIGN_OR_RETURN(const Look look, Look::Decode(plan, layout, content));
  if (!look.sketch().done()) return std::vector<double>();
  const auto counts = SketchValues(look.sketch().layout(),
                                   look.sketch().summary(), "class_counts");
  return std::vector<double>(counts.begin(), counts.end());
}

// Reads the log; the daemon may run or not.
absl::Status Export(const ExportArguments& arguments) {
  FG_ASSIGN_OR_RETURN(const pb::AggregatorConfig config,
                      LoadAggregatorConfig(arguments.config_path));
  FG_ASSIGN_OR_RETURN(const auto files,
                      PosixFileStore::Open(config.state_dir()));
  FG_ASSIGN_OR_RETURN(const RunState state, ReadJournal(*files));
  if (state.run() == nullptr || state.history().empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("no published model in ", config.state_dir(), " yet"));
  }
  FG_ASSIGN_OR_RETURN(const Bytes trained, ReadModel(*files, state.model()));
  const Plan& plan = state.run()->plan;
  FG_RETURN_IF_ERROR(CheckBackbonePath(plan, arguments.backbone_path));
  FG_ASSIGN_OR_RETURN(const SafetensorsFile backbone,
                      OpenBackbone(plan, arguments.backbone_path));
  ExportFacts facts = FactsOf(state);
  FG_ASSIGN_OR_RETURN(facts.class_counts,
                      ClassCounts(state, *files, plan, backbone));
  FG_ASSIGN_OR_RETURN(const ExportedModel model,
                      ExportModel(plan, facts, backbone, trained));
  FG_RETURN_IF_ERROR(
      WriteTextFile(arguments.out_path, AsText(model.safetensors)));
  FG_RETURN_IF_ERROR(
      WriteTextFile(arguments.out_path + ".json", model.card_json + "\n"));
  std::printf("Wrote %s and its model card %s.json\n",
              arguments.out_path.c_str(), arguments.out_path.c_str());
  return absl::OkStatus();
}

}  // namespace

void AddExportCommand(CLI::App& app, absl::Status& status) {
  auto arguments = std::make_shared<ExportArguments>();
  CLI::App* command = app.add_subcommand(
      "export",
      "Write the newest model: backbone and trained tensors in one file");
  command
      ->add_option("--config", arguments->config_path,
                   "The aggregator's config")
      ->required();
  command->add_option("--backbone", arguments->backbone_path,
                      "The plan's backbone file; none for architecture "
                      "identity, whose model is the head");
  command
      ->add_option("--out", arguments->out_path,
                   "Where to write (safetensors); the card gets .json")
      ->required();
  command->callback([arguments, &status] { status = Export(*arguments); });
  command->footer(
      "The file has torchvision's names: load it in Python with\n"
      "  "
      "model.load_state_dict(safetensors.torch.load_file(\"final.safetensors\")"
      ")\n"
      "Example:\n  fedgraft-aggregator export --config aggregator.yaml "
      "--backbone resnet18.safetensors --out final.safetensors");
}

}  // namespace fedgraft
