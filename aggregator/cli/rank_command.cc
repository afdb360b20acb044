#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "aggregator/cli/admin_access.h"
#include "aggregator/cli/commands.h"
#include "aggregator/cli/rank_runs.h"
#include "aggregator/net/run_model_loader.h"
#include "common/base/status_macros.h"
#include "common/config/plan_loader.h"
#include "common/config/probe_plan.h"
#include "common/model/backbone_file.h"
#include "common/model/trainable_set.h"
#include "common/runtime/text_file.h"

namespace fedgraft {
namespace {

struct RankArguments {
  AdminAccess access;
  std::string plan_path, results_path;
  std::vector<std::string> backbones;
  bool json = false, anew = false;
};

// FILE of the plan's architecture, or ARCHITECTURE=FILE. Everything that can
// be wrong with a candidate is found before any run starts.
absl::StatusOr<RankCandidate> ParseCandidate(const Plan& plan,
                                             const std::string& text) {
  RankCandidate candidate;
  const size_t equals = text.find('=');
  const bool named = equals != std::string::npos;
  candidate.architecture = named ? text.substr(0, equals) : plan.architecture;
  const std::string path = named ? text.substr(equals + 1) : text;
  if (candidate.architecture.empty() || path.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected FILE or ARCHITECTURE=FILE, not \"", text, "\""));
  }
  candidate.path = AbsolutePath(path);
  FG_ASSIGN_OR_RETURN(const Digest digest, DigestOfBackbone(candidate.path));
  FG_ASSIGN_OR_RETURN(candidate.probe,
                      ProbePlan(plan, candidate.architecture, digest));
  FG_ASSIGN_OR_RETURN(const SafetensorsFile file,
                      OpenBackbone(candidate.probe, candidate.path));
  FG_RETURN_IF_ERROR(TrainableLayout(candidate.probe, file).status());
  return candidate;
}

absl::StatusOr<std::vector<RankCandidate>> ParseCandidates(
    const Plan& plan, const std::vector<std::string>& backbones) {
  std::vector<RankCandidate> candidates;
  for (const std::string& text : backbones) {
    absl::StatusOr<RankCandidate> candidate = ParseCandidate(plan, text);
    if (!candidate.ok()) {
      return Annotate(candidate.status(), absl::StrCat("--backbone ", text));
    }
    for (const RankCandidate& other : candidates) {
      if (other.probe.hash != candidate->probe.hash) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("--backbone ", text, ": the same backbone as ",
                       other.path, "; expected each once"));
    }
    candidates.push_back(*std::move(candidate));
  }
  return candidates;
}

absl::Status Rank(const RankArguments& arguments) {
  FG_ASSIGN_OR_RETURN(const Plan plan, LoadPlan(arguments.plan_path));
  FG_ASSIGN_OR_RETURN(const std::vector<RankCandidate> candidates,
                      ParseCandidates(plan, arguments.backbones));
  FG_ASSIGN_OR_RETURN(RankFile file,
                      RankFile::Open(arguments.results_path.empty()
                                         ? arguments.plan_path + ".rank.json"
                                         : arguments.results_path));
  FG_ASSIGN_OR_RETURN(const auto client, arguments.access.Connect());
  RankPorts ports;
  ports.status = [&] { return client->Status(true); };
  ports.start = [&](ByteSpan bytes, const std::string& path) {
    return client->StartRun(bytes, path).status();
  };
  ports.watch = [&](const auto& update) { return client->Watch(update); };
  ports.tell = [](const std::string& line) {
    std::fprintf(stderr, "%s\n", line.c_str());
  };
  FG_ASSIGN_OR_RETURN(std::vector<RankResult> results,
                      RunCandidates(candidates, arguments.anew, ports, file));
  SortByLogMe(results);
  if (arguments.json) {
    std::printf("%s\n", RankJson(results).c_str());
    return absl::OkStatus();
  }
  std::printf(
      "Over the training records of all sites; best LogME first. LogME, "
      "H-score and\ndimension are of the features as the backbone makes them, "
      "not normalised; ridge\nloss and AUC are of the validation split.\n\n%s",
      RankTable(results).c_str());
  return absl::OkStatus();
}

}  // namespace

void AddPlanRankCommand(CLI::App& plan, absl::Status& status) {
  auto arguments = std::make_shared<RankArguments>();
  CLI::App* rank = plan.add_subcommand(
      "rank",
      "Rank candidate backbones over all sites' records: a short run each");
  arguments->access.AddOptions(*rank);
  rank->add_option("plan", arguments->plan_path,
                   "Plan (YAML) whose task, sites and preprocessing count")
      ->required();
  rank->add_option("--backbone", arguments->backbones,
                   "FILE (safetensors) of the plan's architecture, or "
                   "ARCHITECTURE=FILE; repeatable")
      ->required();
  rank->add_option("--results", arguments->results_path,
                   "Where results of finished runs are kept; default: "
                   "PLAN.rank.json");
  rank->add_flag("--anew", arguments->anew,
                 "Measure again what is known (the sites' data have changed)");
  rank->add_flag("--json", arguments->json, "JSON instead of a table");
  rank->callback([arguments, &status] { status = Rank(*arguments); });
  rank->footer(
      "Each run solves a ridge head on the frozen features by exact sums; the "
      "sites'\npolicies must allow exact_statistics. A call that was cut off "
      "can be repeated: what\nis finished is not run again.\n"
      "LogME: higher is better, on the same records. H-score: 0 to classes "
      "less 1, higher\nis better; with no more records than features it says "
      "nothing. Dimension: in how\nmany directions the features vary.\n"
      "Example:\n  fedgraft-aggregator plan rank --config aggregator.yaml "
      "plan.yaml \\\n    --backbone resnet18=resnet18.safetensors \\\n    "
      "--backbone mobilenet_v2=mobilenet_v2.safetensors");
}

}  // namespace fedgraft
