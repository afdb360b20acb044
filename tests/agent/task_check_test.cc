#include "client/agent/task_check.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/config/plan_loader.h"
#include "common/shift/look.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using testing::IsError;
using testing::IsOk;

// A run that solves, gathers and trains.
RunContext MakeRun(const std::string& lines) {
  RunContext run{{}, {}, *RunFiles::Create(RunId{"r"}), "", nullptr};
  run.plan = *ParsePlanYaml(
      absl::StrCat("version: 1\nname: small\nrounds: 5\nsites: {quorum: 3}\n"
                   "task: {classes: [no, yes]}\n"
                   "backbone: {architecture: resnet18, sha256: ",
                   std::string(64, 'a'), "}\nstrategy: {kind: full}\n", lines),
      "plan.yaml");
  run.descriptor.run = RunId{"r"};
  run.descriptor.plan_hash = run.plan.hash;
  return run;
}
Task TaskOf(const RunContext& run, TaskKind kind, uint32_t round,
            uint32_t training_round) {
  Task task;
  task.run = run.descriptor.run;
  task.plan_hash = run.descriptor.plan_hash;
  task.kind = kind;
  task.round = RoundId{round};
  task.training_round = RoundId{training_round};
  task.split = "val";
  return task;
}

// Asked at models of the aggregator's choice, exact sums tell of records.
TEST(TaskCheckTest, ExactSumsLeaveBeforeTrainingAlone) {
  const RunContext run = MakeRun(
      "solver: {kind: newton}\n"
      "local: {loss: {class_weights: federated}}\n");
  for (TaskKind kind : {TaskKind::kSolve, TaskKind::kGather}) {
    EXPECT_THAT(CheckTask(run, TaskOf(run, kind, 3, 0)), IsOk());
    EXPECT_THAT(CheckTask(run, TaskOf(run, kind, 9, 1)),
                IsError(absl::StatusCode::kInvalidArgument,
                        "after 1 rounds of training"));
  }
}

TEST(TaskCheckTest, ARunThatGathersNothingAnswersNoSuchTask) {
  const RunContext run = MakeRun("");
  EXPECT_THAT(CheckTask(run, TaskOf(run, TaskKind::kGather, 1, 0)),
              IsError(absl::StatusCode::kInvalidArgument, "gathers none"));
  EXPECT_THAT(CheckTask(run, TaskOf(run, TaskKind::kSolve, 1, 0)),
              IsError(absl::StatusCode::kInvalidArgument, "no solver"));
  Task train = TaskOf(run, TaskKind::kTrain, 1, 1);
  EXPECT_THAT(CheckTask(run, train), IsOk());
  train.statistics_size_bytes = 8;
  EXPECT_THAT(CheckTask(run, train),
              IsError(absl::StatusCode::kInvalidArgument, "8 bytes"));
}

TEST(TaskCheckTest, SketchesOnlyARunThatLooksAtShift) {
  EXPECT_THAT(
      CheckTask(MakeRun(""), TaskOf(MakeRun(""), TaskKind::kSketch, 2, 1)),
      IsError(absl::StatusCode::kInvalidArgument, "shift.every 0"));
  RunContext run = MakeRun("");
  run.plan.shift.every = 5;
  EXPECT_THAT(CheckTask(run, TaskOf(run, TaskKind::kSketch, 6, 5)), IsOk());
  // Two looks at most, of so many stages.
  EXPECT_THAT(CheckTask(run, TaskOf(run, TaskKind::kSketch,
                                    5 + 2 * kLookStagesMax + 1, 5)),
              IsError(absl::StatusCode::kInvalidArgument, "sketching rounds"));
}

TEST(TaskCheckTest, RemediesAreOfPlansThatApplyThem) {
  RunContext run = MakeRun("");
  Task train = TaskOf(run, TaskKind::kTrain, 2, 2);
  train.remedy = SiteRemedy::kPriorCorrection;
  EXPECT_THAT(CheckTask(run, train),
              IsError(absl::StatusCode::kInvalidArgument, "prior correction"));
  run.plan.shift = {1, 0.05, OnShift::kApply};
  EXPECT_THAT(CheckTask(run, train), IsOk());
  run.plan.loss.sampling = Sampling::kBalanced;
  EXPECT_THAT(CheckTask(run, train),
              IsError(absl::StatusCode::kInvalidArgument, "prior correction"));
  run.plan.loss.sampling = Sampling::kShuffled;
  Task sketch = TaskOf(run, TaskKind::kSketch, 2, 2);
  sketch.remedy = SiteRemedy::kPriorCorrection;
  EXPECT_THAT(CheckTask(run, sketch),
              IsError(absl::StatusCode::kInvalidArgument, "prior correction"));
}

TEST(TaskCheckTest, NewsAreAskedWhereFeaturesStayTheSame) {
  RunContext run = MakeRun("");
  Task train = TaskOf(run, TaskKind::kTrain, 2, 2);
  train.compared_look.bytes[0] = 1;
  const auto refused =
      IsError(absl::StatusCode::kInvalidArgument, "records have changed");
  EXPECT_THAT(CheckTask(run, train), refused);
  run.plan.shift.every = 1;
  EXPECT_THAT(CheckTask(run, train), refused);
  run.plan.strategy = StrategyKind::kLinearProbe;
  EXPECT_THAT(CheckTask(run, train), IsOk());
  Task sketch = TaskOf(run, TaskKind::kSketch, 2, 2);
  sketch.compared_look = train.compared_look;
  EXPECT_THAT(CheckTask(run, sketch), refused);
}

TEST(TaskCheckTest, OnlyRoundsBeforeATrainTaskCanHaveCountedTheSite) {
  const RunContext run = MakeRun("");
  Task train = TaskOf(run, TaskKind::kTrain, 3, 3);
  train.counted_round = RoundId{2};
  EXPECT_THAT(CheckTask(run, train), IsOk());
  train.counted_round = RoundId{3};
  EXPECT_THAT(CheckTask(run, train),
              IsError(absl::StatusCode::kInvalidArgument,
                      "round of training 3 counted an update"));
  Task evaluate = TaskOf(run, TaskKind::kEvaluate, 3, 3);
  evaluate.counted_round = RoundId{1};
  EXPECT_THAT(CheckTask(run, evaluate),
              IsError(absl::StatusCode::kInvalidArgument, "or 0"));
}

TEST(TaskCheckTest, TrainTasksOfARunThatGathersNameTheStatistics) {
  const RunContext run = MakeRun("local: {loss: {class_weights: federated}}\n");
  Task train = TaskOf(run, TaskKind::kTrain, 2, 1);
  EXPECT_THAT(CheckTask(run, train),
              IsError(absl::StatusCode::kInvalidArgument, "class_counts"));
  train.statistics_size_bytes = 8;
  EXPECT_THAT(CheckTask(run, train), IsOk());
}

}  // namespace
}  // namespace fedgraft
