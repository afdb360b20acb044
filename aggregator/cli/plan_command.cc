#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "aggregator/cli/commands.h"
#include "aggregator/cli/privacy_report.h"
#include "common/base/status_macros.h"
#include "common/config/identity.h"
#include "common/config/plan_loader.h"
#include "common/config/rule_facts.h"
#include "common/model/backbone_file.h"
#include "common/model/safetensors.h"
#include "common/model/trainable_set.h"
#include "common/numeric/update_payload.h"

namespace fedgraft {
namespace {

struct PlanArguments {
  std::string path;
  std::string backbone;
  PrivacyQuestion privacy;
};

// What one site sends and receives per round, and which names travel.
void PrintTrainableSet(const Plan& plan, const ParameterLayout& layout,
                       const RingSpec& ring) {
  std::printf("trainable set: %zu tensors, %lld values\n",
              layout.tensors().size(), static_cast<long long>(layout.Count()));
  for (const TensorSpec& tensor : layout.tensors()) {
    std::printf("  %s (%lld)\n", tensor.name.c_str(),
                static_cast<long long>(tensor.Count()));
  }
  std::printf("per round and site: %llu bytes up, %lld bytes down\n",
              static_cast<unsigned long long>(PackedBytes(
                  ring.word_bits, static_cast<uint64_t>(
                                      layout.Count() + ExtraWords(plan.rule)))),
              static_cast<long long>(layout.Count() * 4));
}

absl::StatusOr<ParameterLayout> LayoutOf(const Plan& plan,
                                         const std::string& backbone) {
  FG_RETURN_IF_ERROR(CheckBackbonePath(plan, backbone));
  FG_ASSIGN_OR_RETURN(const SafetensorsFile file, OpenBackbone(plan, backbone));
  return TrainableLayout(plan, file);
}

absl::Status CheckPlan(const PlanArguments& arguments) {
  FG_ASSIGN_OR_RETURN(const Plan plan, LoadPlan(arguments.path));
  FG_ASSIGN_OR_RETURN(const RingSpec ring, TrainRing(plan));
  std::optional<ParameterLayout> layout;
  if (!arguments.backbone.empty() || !HasBackbone(plan)) {
    FG_ASSIGN_OR_RETURN(layout, LayoutOf(plan, arguments.backbone));
  }
  std::printf(
      "plan \"%s\" is valid\nhash: %s\nrounds: %d, quorum %d of %d sites\n"
      "updates: %d-bit words, step %.3g\n",
      plan.name.c_str(), plan.hash.Hex().c_str(), plan.rounds, plan.quorum,
      plan.expected_sites, ring.word_bits, ring.Step());
  if (plan.solver.kind != SolverKind::kNone) {
    std::printf("exact head first: %zu lambdas, at most %d rounds\n",
                plan.solver.lambdas.size(), plan.solver.rounds_max);
  }
  if (layout.has_value()) PrintTrainableSet(plan, *layout, ring);
  return absl::OkStatus();
}

absl::Status PrintEpsilon(const PlanArguments& arguments) {
  FG_ASSIGN_OR_RETURN(const Plan plan, LoadPlan(arguments.path));
  PrivacyQuestion question = arguments.privacy;
  if (!arguments.backbone.empty() || !HasBackbone(plan)) {
    FG_ASSIGN_OR_RETURN(const ParameterLayout layout,
                        LayoutOf(plan, arguments.backbone));
    question.parameters = layout.Count();
  }
  FG_ASSIGN_OR_RETURN(const std::string report, PrivacyReport(plan, question));
  std::printf("%s", report.c_str());
  return absl::OkStatus();
}

}  // namespace

void AddPlanCommand(CLI::App& app, absl::Status& status) {
  CLI::App* plan = app.add_subcommand(
      "plan", "Check a plan, or rank backbones for it, before a run");
  plan->require_subcommand(1);
  auto arguments = std::make_shared<PlanArguments>();
  CLI::App* check = plan->add_subcommand(
      "check", "Validate; print its hash, what travels and how much");
  check->add_option("plan", arguments->path, "Plan (YAML)")->required();
  check->add_option("--backbone", arguments->backbone,
                    "Backbone file, to list the trainable set");
  check->callback([arguments, &status] { status = CheckPlan(*arguments); });
  AddPlanRankCommand(*plan, status);
  CLI::App* epsilon = plan->add_subcommand(
      "epsilon", "What training costs in differential privacy, by rounds");
  epsilon->add_option("plan", arguments->path, "Plan (YAML)")->required();
  epsilon->add_option("--records", arguments->privacy.records,
                      "Training records of a site");
  epsilon->add_option("--backbone", arguments->backbone,
                      "Backbone file, for the size of the trainable set");
  epsilon
      ->add_option("--target", arguments->privacy.target,
                   "Also find the noise for this epsilon")
      ->check(CLI::PositiveNumber);
  epsilon->callback(
      [arguments, &status] { status = PrintEpsilon(*arguments); });
  plan->footer(
      "Examples:\n  fedgraft-aggregator plan check plan.yaml --backbone "
      "resnet18.safetensors\n  fedgraft-aggregator plan rank --config "
      "aggregator.yaml plan.yaml --backbone A=FILE --backbone B=FILE");
}

}  // namespace fedgraft
