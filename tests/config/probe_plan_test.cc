#include "common/config/probe_plan.h"

#include "common/config/plan_loader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/config/plan_text.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using testing::IsError;
using testing::IsOk;

Digest DigestOf(char digit) { return *Digest::FromHex(std::string(64, digit)); }

absl::StatusOr<Plan> Parse(const std::string& more) {
  return ParsePlanYaml(MinimalPlan() + more, "plan.yaml");
}

constexpr char kTraining[] =
    "seed: 9\n"
    "deadlines: {round: 7m}\n"
    "preprocessing: {size: 64, mean: [0.5], std: [0.25]}\n"
    "local: {epochs: 3}\n"
    "evaluation: {every: 1, final_split: test}\n";

TEST(ProbePlanTest, KeepsTaskAndSitesAndAsksForARidgeProbe) {
  const auto plan = Parse(kTraining);
  ASSERT_THAT(plan, IsOk());
  const auto probe = ProbePlan(*plan, "mobilenet_v2", DigestOf('b'));
  ASSERT_THAT(probe, IsOk());
  EXPECT_EQ(probe->name, "rank mobilenet_v2");
  EXPECT_EQ(probe->architecture, "mobilenet_v2");
  EXPECT_EQ(probe->backbone, DigestOf('b'));
  EXPECT_EQ(probe->seed, 9u);
  EXPECT_EQ(probe->quorum, 3);
  EXPECT_EQ(probe->classes, plan->classes);
  EXPECT_EQ(probe->preprocessing.size, 64);
  EXPECT_EQ(probe->round_deadline, absl::Minutes(7));
  EXPECT_EQ(probe->rounds, 0);
  EXPECT_EQ(probe->strategy, StrategyKind::kLinearProbe);
  EXPECT_EQ(probe->solver.kind, SolverKind::kRidge);
  EXPECT_EQ(probe->solver.normalization, Normalization::kPooled);
  EXPECT_GT(probe->solver.lambdas.size(), 1u);
}

// Choosing by the test split would spoil it.
TEST(ProbePlanTest, NeverLooksAtTheTestSplit) {
  const auto probe = ProbePlan(*Parse(kTraining), "resnet18", DigestOf('b'));
  ASSERT_THAT(probe, IsOk());
  EXPECT_EQ(probe->evaluation.every, 0);
  EXPECT_EQ(probe->evaluation.split, Split::kVal);
  EXPECT_EQ(probe->evaluation.final_split, Split::kVal);
}

TEST(ProbePlanTest, IsTheSamePlanForTheSameCandidateOnly) {
  const Plan plan = *Parse(kTraining);
  const Digest hash = ProbePlan(plan, "resnet18", DigestOf('b'))->hash;
  EXPECT_EQ(ProbePlan(plan, "resnet18", DigestOf('b'))->hash, hash);
  EXPECT_NE(ProbePlan(plan, "resnet18", DigestOf('c'))->hash, hash);
  EXPECT_NE(ProbePlan(plan, "resnet34", DigestOf('b'))->hash, hash);
  EXPECT_NE(ProbePlan(*Parse("seed: 8\n"), "resnet18", DigestOf('b'))->hash,
            hash);
}

TEST(ProbePlanTest, TakesThePlansLambdasAndNormalisation) {
  const std::string solver =
      "rounds: 0\nsolver: {kind: newton, lambdas: [3, 2]";
  const auto with = [&](const std::string& normalization) {
    std::string text = MinimalPlan();
    text.replace(text.find("rounds: 2\n"), 10, solver + normalization + "}\n");
    return *ProbePlan(*ParsePlanYaml(text, "plan.yaml"), "resnet18",
                      DigestOf('b'));
  };
  EXPECT_THAT(with("").solver.lambdas, ::testing::ElementsAre(3, 2));
  EXPECT_EQ(with("").solver.kind, SolverKind::kRidge);
  EXPECT_EQ(with(", normalization: none").solver.normalization,
            Normalization::kNone);
  EXPECT_EQ(with(", normalization: per_site").solver.normalization,
            Normalization::kPooled);
}

TEST(ProbePlanTest, RefusesWhatCannotBeRanked) {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  const Plan plan = *Parse("");
  EXPECT_THAT(ProbePlan(plan, "identity", DigestOf('b')).status(),
              IsError(kInvalid, "no backbone to choose"));
  EXPECT_THAT(ProbePlan(plan, "vgg16", DigestOf('b')).status(),
              IsError(kInvalid, "backbone.architecture"));
  EXPECT_THAT(ProbePlan(plan, "squeezenet1_1", DigestOf('b')).status(),
              IsError(kInvalid, "not linear"));
  Plan noisy = plan;
  noisy.differential_privacy.kind = DifferentialPrivacy::kRecord;
  EXPECT_THAT(ProbePlan(noisy, "resnet18", DigestOf('b')).status(),
              IsError(kInvalid, "differential privacy"));
}

}  // namespace
}  // namespace fedgraft
