#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "aggregator/cli/admin_access.h"
#include "aggregator/cli/commands.h"
#include "common/base/status_macros.h"
#include "common/config/identity.h"
#include "common/config/plan_loader.h"
#include "common/model/backbone_file.h"
#include "common/runtime/text_file.h"

namespace fedgraft {
namespace {

struct RunArguments {
  AdminAccess access;
  std::string plan_path;
  std::string backbone_path;
  std::string run;
  std::string reason = "stopped by an operator";
};

absl::Status Start(const RunArguments& arguments) {
  FG_ASSIGN_OR_RETURN(const Plan plan, LoadPlan(arguments.plan_path));
  FG_RETURN_IF_ERROR(CheckBackbonePath(plan, arguments.backbone_path));
  FG_ASSIGN_OR_RETURN(const auto client, arguments.access.Connect());
  FG_ASSIGN_OR_RETURN(
      const pb::StartRunReply reply,
      client->StartRun(plan.bytes, HasBackbone(plan)
                                       ? AbsolutePath(arguments.backbone_path)
                                       : ""));
  std::printf("Started run %s of plan \"%s\" (%s)\n", reply.run_id().c_str(),
              plan.name.c_str(), plan.hash.Short().c_str());
  return absl::OkStatus();
}

absl::Status Stop(const RunArguments& arguments) {
  FG_ASSIGN_OR_RETURN(const auto client, arguments.access.Connect());
  FG_RETURN_IF_ERROR(client->StopRun(arguments.run, arguments.reason));
  std::printf("Stopped run %s\n", arguments.run.c_str());
  return absl::OkStatus();
}

absl::Status Pause(const RunArguments& arguments) {
  FG_ASSIGN_OR_RETURN(const auto client, arguments.access.Connect());
  FG_RETURN_IF_ERROR(client->PauseRun(arguments.run, true));
  std::printf("Paused run %s; go on with: run resume %s\n",
              arguments.run.c_str(), arguments.run.c_str());
  return absl::OkStatus();
}

absl::Status Resume(const RunArguments& arguments) {
  FG_ASSIGN_OR_RETURN(const auto client, arguments.access.Connect());
  FG_RETURN_IF_ERROR(client->PauseRun(arguments.run, false));
  std::printf("Resumed run %s\n", arguments.run.c_str());
  return absl::OkStatus();
}

}  // namespace

void AddRunCommand(CLI::App& app, absl::Status& status) {
  auto arguments = std::make_shared<RunArguments>();
  CLI::App* run = app.add_subcommand("run", "Start, stop, pause, resume a run");
  run->require_subcommand(1);
  run->footer(
      "Examples:\n"
      "  fedgraft-aggregator run start --config aggregator.yaml "
      "--backbone resnet18.safetensors plan.yaml\n"
      "  fedgraft-aggregator run stop --config aggregator.yaml RUN "
      "--reason \"wrong labels\"");
  const auto add = [&](const char* name, const char* help,
                       absl::Status (*work)(const RunArguments&)) {
    CLI::App* command = run->add_subcommand(name, help);
    arguments->access.AddOptions(*command);
    command->callback(
        [arguments, &status, work] { status = work(*arguments); });
    return command;
  };
  CLI::App* start = add("start", "Start a run of a plan", Start);
  start->add_option("plan", arguments->plan_path, "Plan (YAML)")->required();
  start->add_option("--backbone", arguments->backbone_path,
                    "Backbone file (safetensors) on the aggregator's machine; "
                    "none for architecture identity");
  CLI::App* stop = add("stop", "Stop a run for good", Stop);
  stop->add_option("run", arguments->run, "Run id")->required();
  stop->add_option("--reason", arguments->reason, "Kept in the log");
  add("pause", "Hand out no new tasks", Pause)
      ->add_option("run", arguments->run, "Run id")
      ->required();
  add("resume", "Go on with a paused run", Resume)
      ->add_option("run", arguments->run, "Run id")
      ->required();
}

}  // namespace fedgraft
