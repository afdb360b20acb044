#include "client/agent/task_check.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/shift/look.h"
#include "common/shift/remedies.h"
#include "common/statistics/start_statistics.h"

namespace fedgraft {
namespace {

absl::Status Wrong(const Task& task, const std::string& what) {
  return absl::InvalidArgumentError(
      absl::StrCat("task of round ", task.round.value, " ", what));
}

// Of all looks at shift that the plan has.
uint32_t SketchRoundsMax(const Plan& plan) {
  if (plan.shift.every == 0) return 0;
  // One more after the last round, or after an early stop.
  const int looks = plan.rounds / plan.shift.every + 1;
  return static_cast<uint32_t>(looks * kLookStagesMax);
}

absl::Status CheckRounds(const Plan& plan, const Task& task) {
  const uint32_t rounds = static_cast<uint32_t>(plan.rounds);
  const uint32_t solve_rounds =
      plan.solver.kind != SolverKind::kNone
          ? static_cast<uint32_t>(plan.solver.rounds_max)
          : 0;
  const uint32_t gather_rounds = AskedStatistics(plan).empty() ? 0 : 1;
  const uint32_t sketch_rounds = SketchRoundsMax(plan);
  // An early stop evaluates the chosen model in a round of its own.
  const uint32_t stops = plan.stopping.patience > 0 ? 1 : 0;
  if (task.training_round.value <= rounds &&
      task.round.value <=
          rounds + solve_rounds + gather_rounds + sketch_rounds + stops &&
      (task.training_round.value > 0 || task.kind != TaskKind::kTrain) &&
      (task.round.value > 0 || task.kind == TaskKind::kEvaluate)) {
    return absl::OkStatus();
  }
  return Wrong(task,
               absl::StrCat("(of training ", task.training_round.value,
                            ") is not one of the plan's ", rounds,
                            " rounds of training and at most ", solve_rounds,
                            " solve, ", gather_rounds, " gathering and ",
                            sketch_rounds, " sketching rounds"));
}

// Exact sums leave a site before training and never at a model that came of it:
// asked again and again they would tell of single records.
absl::Status CheckPreparing(const Task& task) {
  const bool prepares =
      task.kind == TaskKind::kSolve || task.kind == TaskKind::kGather;
  if (!prepares || task.training_round.value == 0) return absl::OkStatus();
  return Wrong(task, absl::StrCat("asks for exact sums after ",
                                  task.training_round.value,
                                  " rounds of training; expected before"));
}

absl::Status CheckStatistics(const Plan& plan, const Task& task) {
  const std::string asked = AskedStatistics(plan);
  if (task.kind == TaskKind::kGather && asked.empty()) {
    return Wrong(task, "asks for statistics; the plan gathers none");
  }
  if (task.kind == TaskKind::kSketch) {
    if (plan.shift.every > 0) return absl::OkStatus();
    return Wrong(task, "asks for sketches; the plan has shift.every 0");
  }
  const bool expected = task.kind == TaskKind::kTrain && !asked.empty();
  if (expected == (task.statistics_size_bytes > 0)) return absl::OkStatus();
  return Wrong(task, absl::StrCat("announces ", task.statistics_size_bytes,
                                  " bytes of gathered statistics; the plan "
                                  "trains with: ",
                                  asked.empty() ? "none" : asked));
}

// A round that is yet to come has counted nothing.
absl::Status CheckCounted(const Task& task) {
  const bool is_before = task.kind == TaskKind::kTrain
                             ? task.counted_round < task.training_round
                             : task.counted_round.value == 0;
  if (is_before) return absl::OkStatus();
  return Wrong(task, absl::StrCat("(of training ", task.training_round.value,
                                  ") says that round of training ",
                                  task.counted_round.value,
                                  " counted an update of this site; expected "
                                  "an earlier one, or 0"));
}

absl::Status CheckCompared(const Plan& plan, const Task& task) {
  const bool possible = task.kind == TaskKind::kTrain && TellsNews(plan);
  if (task.compared_look == Digest() || possible) return absl::OkStatus();
  return Wrong(task,
               "asks whether records have changed since a look at shift; the "
               "plan has none whose features stay the same");
}

absl::Status CheckRemedy(const Plan& plan, const Task& task) {
  const bool possible = task.kind == TaskKind::kTrain &&
                        plan.shift.on_shift == OnShift::kApply &&
                        ObstacleTo(task.remedy, plan) == RemedyObstacle::kNone;
  if (task.remedy == SiteRemedy::kNone || possible) return absl::OkStatus();
  return Wrong(
      task, absl::StrCat("asks for ", std::string(SiteRemedyName(task.remedy)),
                         ", which the plan does not allow"));
}

}  // namespace

absl::StatusOr<Split> ParseSplit(const std::string& name) {
  if (name == "train") return Split::kTrain;
  if (name == "val") return Split::kVal;
  if (name == "test") return Split::kTest;
  return absl::InvalidArgumentError(absl::StrCat(
      "task names split '", name, "', expected train, val or test"));
}

absl::Status CheckTask(const RunContext& run, const Task& task) {
  if (task.run != run.descriptor.run ||
      task.plan_hash != run.descriptor.plan_hash) {
    return Wrong(task, absl::StrCat("is of run ", task.run.value, ", plan ",
                                    task.plan_hash.Short(), "; joined was ",
                                    run.descriptor.run.value, ", plan ",
                                    run.descriptor.plan_hash.Short()));
  }
  // Whatever the aggregator says: a plan with secure aggregation lets out no
  // update without masks.
  const bool masked = task.secure.step == SecureStep::kMask;
  const SecureAggregationSpec& secure = run.plan.secure_aggregation;
  if (!masked && secure.is_on && secure.mode == SecureMode::kAuto) {
    // This site's choice, not the plan's.
    return absl::PermissionDeniedError(absl::StrCat(
        "policy.secure_aggregation: round ", task.round.value,
        " asks for an update without masks, this site allows sums of masked "
        "updates only; the aggregator's status says why the run has none"));
  }
  if (masked != secure.is_on) {
    return Wrong(task, masked ? "asks for a masked update; the plan does not"
                              : "asks for an update without masks; the plan "
                                "has secure aggregation");
  }
  FG_RETURN_IF_ERROR(CheckRounds(run.plan, task));
  FG_RETURN_IF_ERROR(CheckPreparing(task));
  if (task.kind == TaskKind::kSolve &&
      run.plan.solver.kind == SolverKind::kNone) {
    return Wrong(task, "asks for statistics; the plan has no solver");
  }
  FG_RETURN_IF_ERROR(CheckStatistics(run.plan, task));
  FG_RETURN_IF_ERROR(CheckRemedy(run.plan, task));
  FG_RETURN_IF_ERROR(CheckCounted(task));
  FG_RETURN_IF_ERROR(CheckCompared(run.plan, task));
  if (!task.model_inline.empty() &&
      task.model_inline.size() != task.model_size_bytes) {
    return Wrong(task,
                 absl::StrCat("announces a model of ", task.model_size_bytes,
                              " bytes and has ", task.model_inline.size()));
  }
  if (task.kind == TaskKind::kEvaluate) {
    FG_RETURN_IF_ERROR(ParseSplit(task.split).status());
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
