#include "client/train/session.h"

#include <cmath>
#include <cstring>
#include <filesystem>

#include "client/train/path_io.h"
#include "common/model/evaluation_layout.h"
#include "common/model/safetensors.h"
#include "common/runtime/system_clock.h"
#include "common/solve/head_solver.h"
#include "common/solve/head_values.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "tests/train/fixture.h"

namespace fedgraft {
namespace {

using testing::FakeSource;
using testing::IsError;
using testing::IsOk;
using testing::Silent;

class SessionTest : public ::testing::Test {
 protected:
  SessionTest() { testing::WriteBackbone(backbone_, "resnet18"); }

  std::unique_ptr<TrainerSession> Open(const Plan& plan,
                                       FakeSource::Options data = {}) {
    auto session = TryOpen(plan, data);
    EXPECT_THAT(session, IsOk());
    return *std::move(session);
  }
  absl::StatusOr<std::unique_ptr<TrainerSession>> TryOpen(
      const Plan& plan, FakeSource::Options data = {}) {
    SessionConfig config;
    config.plan = plan;
    config.data = std::make_unique<FakeSource>(data);
    config.compute = {"cpu", 1, "none"};
    config.backbone_path = backbone_;
    config.state_dir = state_;
    config.cache.folder = cache_;
    config.cache.bytes_max = 64 << 20;
    return TrainerSession::Create(std::move(config), clock_);
  }
  // Runs `round` from the model file and returns the update.
  ParameterVector Train(TrainerSession& session, int round) {
    const std::string delta = folder_.File("delta");
    const auto trained = session.RunTrain({round, model_, delta}, Silent);
    EXPECT_THAT(trained, IsOk());
    return testing::ReadDelta(delta);
  }
  void WriteModel(const Plan& plan, const ParameterVector& values) {
    ASSERT_THAT(
        WriteFile(model_, EncodeTrainableSet(testing::LayoutOf(plan, backbone_),
                                             values)),
        IsOk());
  }

  testing::TempFolder folder_;
  std::string backbone_ = folder_.File("backbone.safetensors");
  std::string model_ = folder_.File("model.safetensors");
  std::string state_ = folder_.File("state");
  std::string cache_ = folder_.File("features");
  SystemClock clock_;
};

Plan FullPlan(BatchNormPolicy policy) {
  Plan plan = testing::SmallPlan();
  plan.strategy = StrategyKind::kFull;
  plan.batch_norm = policy;
  return plan;
}

TEST_F(SessionTest, DerivesTheAggregatorsLayout) {
  const Plan plan = testing::SmallPlan();
  auto session = Open(plan);
  EXPECT_EQ(session->layout_digest(),
            testing::LayoutOf(plan, backbone_).digest());
  EXPECT_EQ(session->Count(Split::kTrain), 12u);
  EXPECT_EQ(session->Count(Split::kVal), 6u);
  EXPECT_EQ(session->Count(Split::kTest), 8u);
  EXPECT_EQ(session->device(), "cpu");
}

TEST_F(SessionTest, WritesAnUpdateOfTheLayoutsLength) {
  const Plan plan = testing::SmallPlan();
  testing::WriteInitialModel(plan, backbone_, model_);
  auto session = Open(plan);
  std::vector<double> fractions;
  const auto trained =
      session->RunTrain({1, model_, folder_.File("out/delta")},
                        [&](double fraction, std::string_view) {
                          fractions.push_back(fraction);
                          return absl::OkStatus();
                        });
  ASSERT_THAT(trained, IsOk());
  EXPECT_EQ(trained->samples, 12u);
  EXPECT_GT(trained->loss, 0);
  EXPECT_EQ(testing::ReadDelta(folder_.File("out/delta")).size(), 1026u);
  EXPECT_TRUE(std::is_sorted(fractions.begin(), fractions.end()));
  EXPECT_GE(fractions.size(), 6u);
  EXPECT_LE(fractions.back(), 1);
}

TEST_F(SessionTest, ARepeatedRoundGivesTheSameBytes) {
  for (auto policy : {BatchNormPolicy::kFrozen, BatchNormPolicy::kLocal,
                      BatchNormPolicy::kPooled}) {
    SCOPED_TRACE(static_cast<int>(policy));
    state_ = folder_.File("state" + std::to_string(static_cast<int>(policy)));
    const Plan plan = FullPlan(policy);
    testing::WriteInitialModel(plan, backbone_, model_);
    auto session = Open(plan);
    const ParameterVector first = Train(*session, 1);
    const ParameterVector second = Train(*session, 2);
    EXPECT_NE(first, second);
    EXPECT_EQ(Train(*session, 2), second);
    // As after a crash of the process.
    auto restarted = Open(plan);
    EXPECT_EQ(Train(*restarted, 2), second);
    EXPECT_EQ(Train(*session, 3), Train(*restarted, 3));
  }
}

// Segment files with their bytes.
std::map<std::string, Bytes> Segments(const std::string& folder) {
  std::map<std::string, Bytes> segments;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".features") {
      segments[entry.path().filename()] = *ReadFile(entry.path());
    }
  }
  return segments;
}

TEST_F(SessionTest, ARestartedTrainerFindsItsFeatures) {
  const Plan plan = testing::SmallPlan();
  testing::WriteInitialModel(plan, backbone_, model_);
  auto session = Open(plan);
  const ParameterVector first = Train(*session, 1);
  const auto made = Segments(cache_);
  EXPECT_EQ(made.size(), 1u);
  EXPECT_EQ(Train(*Open(plan), 1), first);
  EXPECT_EQ(Segments(cache_), made);
  Plan other = plan;
  other.preprocessing.invert = true;
  Train(*Open(other), 1);
  EXPECT_EQ(Segments(cache_).size(), 2u);
  other.backbone.bytes[0] = 1;
  Train(*Open(other), 1);
  EXPECT_EQ(Segments(cache_).size(), 3u);
}

// Another run of the site, with its own state.
TEST_F(SessionTest, RunsShareFeaturesOfOneBackbone) {
  const Plan plan = testing::SmallPlan();
  testing::WriteInitialModel(plan, backbone_, model_);
  Train(*Open(plan), 1);
  const auto made = Segments(cache_);
  state_ = folder_.File("another run");
  Plan other = plan;
  other.name = "other";
  other.optimizer.learning_rate = 0.1;
  Train(*Open(other), 1);
  EXPECT_EQ(Segments(cache_), made);
}

TEST_F(SessionTest, TrainsToTheSameBytesWithAndWithoutCache) {
  Plan partial = testing::SmallPlan();
  partial.strategy = StrategyKind::kPartial;
  partial.unfreeze = {"layer4.1.*"};
  Plan views = testing::SmallPlan();
  views.augmentation.rotate_degrees = 15;
  views.augmentation.views = 2;
  for (const Plan& plan : {testing::SmallPlan(), partial, views}) {
    testing::WriteInitialModel(plan, backbone_, model_);
    cache_ = "";
    const ParameterVector without = Train(*Open(plan), 2);
    cache_ = folder_.File("features");
    EXPECT_EQ(Train(*Open(plan), 2), without);  // cold
    EXPECT_EQ(Train(*Open(plan), 2), without);  // warm
  }
}

TEST_F(SessionTest, KeptViewsTrainAndImagesAreJudged) {
  Plan plan = testing::SmallPlan();
  plan.augmentation.rotate_degrees = 15;
  plan.augmentation.views = 2;
  testing::WriteInitialModel(plan, backbone_, model_);
  auto session = Open(plan);
  const ParameterVector first = Train(*session, 1);
  EXPECT_EQ(Train(*session, 1), first);
  const auto kept =
      session->RunEvaluate({1, model_, Split::kTrain, false, ""}, Silent);
  ASSERT_THAT(kept, IsOk());
  plan.augmentation = {};
  auto plain = Open(plan);
  EXPECT_NE(Train(*plain, 1), first);
  const auto judged =
      plain->RunEvaluate({1, model_, Split::kTrain, false, ""}, Silent);
  ASSERT_THAT(judged, IsOk());
  EXPECT_EQ(kept->sums, judged->sums);
}

TEST_F(SessionTest, NamesACacheKeyThatIsMissing) {
  SessionConfig config;
  config.plan = testing::SmallPlan();
  config.data = std::make_unique<FakeSource>(FakeSource::Options());
  config.compute = {"cpu", 1, "none"};
  config.backbone_path = backbone_;
  config.cache = {cache_, 1 << 20, false, folder_.File("no key")};
  EXPECT_THAT(TrainerSession::Create(std::move(config), clock_),
              IsError(absl::StatusCode::kFailedPrecondition, "no key"));
}

TEST_F(SessionTest, SendsPooledStatisticsAsMoments) {
  const Plan plan = FullPlan(BatchNormPolicy::kPooled);
  const ParameterVector before =
      testing::WriteInitialModel(plan, backbone_, model_);
  const ParameterLayout layout = testing::LayoutOf(plan, backbone_);
  Plan one_step = plan;
  one_step.local_epochs = 1;
  one_step.batch_size = 100;
  auto session = Open(one_step);
  const ParameterVector delta = Train(*session, 1);
  // One step from mean 0, variance 1 with momentum 0.1: the batch's mean and
  // unbiased variance of conv1's output follow from the update.
  const size_t mean = layout.Offset(*layout.Find("bn1.running_mean"));
  const size_t var = layout.Offset(*layout.Find("bn1.running_var"));
  for (int channel = 0; channel < 64; ++channel) {
    EXPECT_EQ(before[mean + channel], 0);
    EXPECT_EQ(before[var + channel], 1);
    const double new_mean = delta[mean + channel];
    const double new_var = delta[var + channel] + 1 - new_mean * new_mean;
    const double batch_var = (new_var - 0.9) / 0.1;
    EXPECT_GT(batch_var, 0) << channel;
  }
  // Undoing the moments gives the variance that the next round starts from.
  ParameterVector next = before;
  ToMoments(layout, next);
  for (size_t i = 0; i < next.size(); ++i) next[i] += delta[i];
  FromMoments(layout, next);
  EXPECT_GT(next[var], 0.9f);
}

TEST_F(SessionTest, EvaluatesToSumsAndScalars) {
  const Plan plan = testing::SmallPlan();
  testing::WriteInitialModel(plan, backbone_, model_);
  auto session = Open(plan);
  const auto evaluated =
      session->RunEvaluate({1, model_, Split::kTest, false, ""}, Silent);
  ASSERT_THAT(evaluated, IsOk());
  const auto pooled = EvaluationMetrics(EvaluationLayout(2), evaluated->sums);
  ASSERT_THAT(pooled, IsOk());
  EXPECT_EQ(pooled->at("n"), 8);
  EXPECT_NEAR(pooled->at("loss"), evaluated->scalars.at("loss"), 1e-9);
  EXPECT_FALSE(evaluated->scalars.contains("local_auc"));
}

// With one site, federated averaging is training alone.
TEST_F(SessionTest, ComparesWithTrainingAlone) {
  Plan plan = testing::SmallPlan();
  plan.schedule.kind = ScheduleKind::kCosine;
  plan.rounds = 4;
  const ParameterVector initial =
      testing::WriteInitialModel(plan, backbone_, model_);
  const std::string start = folder_.File("initial.safetensors");
  testing::WriteInitialModel(plan, backbone_, start);
  auto session = Open(plan, {.contrast = 0.1});
  ParameterVector values = initial;
  for (int round = 1; round <= plan.rounds; ++round) {
    const ParameterVector delta = Train(*session, round);
    for (size_t i = 0; i < values.size(); ++i) values[i] += delta[i];
    WriteModel(plan, values);
  }
  const auto evaluated = session->RunEvaluate(
      {plan.rounds, model_, Split::kTest, true, start}, Silent);
  ASSERT_THAT(evaluated, IsOk());
  EXPECT_NEAR(evaluated->scalars.at("local_loss"),
              evaluated->scalars.at("loss"), 1e-5);
  EXPECT_EQ(evaluated->scalars.at("local_auc"), evaluated->scalars.at("auc"));
  EXPECT_EQ(evaluated->scalars.at("local_n"), 8);
}

// What was trained alone for an earlier comparison is gone on with.
TEST_F(SessionTest, ComparesEveryFewRoundsAsItWouldOnce) {
  Plan plan = testing::SmallPlan();
  plan.schedule.kind = ScheduleKind::kCosine;
  plan.rounds = 4;
  plan.evaluation.compare_local = true;
  plan.evaluation.compare_local_every = 2;
  testing::WriteInitialModel(plan, backbone_, model_);
  const std::string start = folder_.File("initial.safetensors");
  testing::WriteInitialModel(plan, backbone_, start);
  const auto compare = [&](TrainerSession& session, int round) {
    auto evaluated =
        session.RunEvaluate({round, model_, Split::kTest, true, start}, Silent);
    EXPECT_THAT(evaluated, IsOk());
    return evaluated->scalars;
  };
  auto once = Open(plan, {.contrast = 0.1});
  const auto expected = compare(*once, 4);
  auto session = Open(plan, {.contrast = 0.1});
  const auto half = compare(*session, 2);
  EXPECT_GT(half.at("local_loss"), expected.at("local_loss"));
  EXPECT_EQ(compare(*session, 4), expected);
  // Backwards (an early stop): from the start again.
  EXPECT_EQ(compare(*session, 2), half);
}

TEST_F(SessionTest, LocalBatchNormStaysAtTheSiteAndFollowsTheRounds) {
  const Plan plan = FullPlan(BatchNormPolicy::kLocal);
  testing::WriteInitialModel(plan, backbone_, model_);
  auto session = Open(plan);
  const auto evaluate = [&](int round) {
    return session->RunEvaluate({round, model_, Split::kVal, false, ""}, Silent)
        ->scalars.at("loss");
  };
  const double untrained = evaluate(0);
  Train(*session, 1);
  // The same global model, but with statistics of this site.
  const double after = evaluate(1);
  EXPECT_NE(after, untrained);
  EXPECT_EQ(evaluate(0), untrained);
  for (int round = 2; round <= 4; ++round) Train(*session, round);
  EXPECT_NE(evaluate(4), after);
  // Only what a repetition of the last round needs is kept.
  const auto files = std::distance(
      std::filesystem::directory_iterator(folder_.File("state/local")),
      std::filesystem::directory_iterator());
  EXPECT_EQ(files, 2);
}

Plan SolverPlan() {
  Plan plan = testing::SmallPlan();
  plan.rounds = 0;
  plan.solver.kind = SolverKind::kNewton;
  plan.solver.lambdas = {10, 1};
  return plan;
}

// What aggregator and site do with one another, without the network.
SolverState SolveWith(TrainerSession& session, const Plan& plan, int64_t dim,
                      const std::string& folder) {
  SolverState state = InitialSolverState(plan, dim);
  while (!state.done) {
    const SolvePoint point = NextPoint(plan, state);
    EXPECT_THAT(WriteFile(folder + "/point", EncodeSolvePoint(point)), IsOk());
    const auto samples =
        session.RunSolve({folder + "/point", folder + "/sums"}, Silent);
    EXPECT_THAT(samples, IsOk());
    EXPECT_EQ(*samples, 12u);
    const Bytes bytes = *ReadFile(folder + "/sums");
    std::vector<double> sums(bytes.size() / sizeof(double));
    std::memcpy(sums.data(), bytes.data(), bytes.size());
    state = *Advance(plan, state, sums);
  }
  return state;
}

TEST_F(SessionTest, SolvesTheHeadStepByStepAndAgainAfterARestart) {
  const Plan plan = SolverPlan();
  const auto session = Open(plan);
  const SolverState state = SolveWith(*session, plan, 512, folder_.path());
  ASSERT_EQ(state.heads.size(), 2u);
  EXPECT_TRUE(state.heads[1].converged);
  EXPECT_EQ(state.records, 12);
  EXPECT_EQ(state.heads[0].validation_records, 6);
  const auto restarted = Open(plan);
  EXPECT_EQ(EncodeSolverState(SolveWith(*restarted, plan, 512, folder_.path())),
            EncodeSolverState(state));
}

TEST_F(SessionTest, EvaluatesTheSolvedHeadAndComparesWithSolvingAlone) {
  const Plan plan = SolverPlan();
  const auto session = Open(plan);
  const SolverState state = SolveWith(*session, plan, 512, folder_.path());
  const ParameterLayout layout = testing::LayoutOf(plan, backbone_);
  ParameterVector values(static_cast<size_t>(layout.Count()));
  SetHead(plan, layout, PublishedHead(state), values);
  WriteModel(plan, values);
  const auto evaluated =
      session->RunEvaluate({0, model_, Split::kTrain, true, model_}, Silent);
  ASSERT_THAT(evaluated, IsOk());
  EXPECT_EQ(evaluated->scalars.at("auc"), 1);
  // The only site there is solves the same problem alone.
  EXPECT_NEAR(evaluated->scalars.at("local_loss"),
              evaluated->scalars.at("loss"), 1e-6);
}

TEST_F(SessionTest, FitsItsOwnInterceptIfThePlanAsks) {
  Plan plan = SolverPlan();
  plan.solver.site_intercept = true;
  const auto session = Open(plan);
  const ParameterLayout layout = testing::LayoutOf(plan, backbone_);
  // Slopes 0 and intercepts far off: every image would be class 0.
  std::vector<double> head(2 * 513, 0.0);
  head[512] = 20;
  ParameterVector values(static_cast<size_t>(layout.Count()));
  SetHead(plan, layout, head, values);
  WriteModel(plan, values);
  const auto evaluated =
      session->RunEvaluate({0, model_, Split::kTrain, false, ""}, Silent);
  ASSERT_THAT(evaluated, IsOk());
  // Balanced classes: the best constant has the entropy of a coin.
  EXPECT_NEAR(evaluated->scalars.at("loss"), std::log(2.0), 1e-6);
}

TEST_F(SessionTest, RefusesAPointThatIsNoneOrOfAnotherHead) {
  const Plan plan = SolverPlan();
  const auto session = Open(plan);
  const std::string point = folder_.File("point");
  ASSERT_THAT(WriteFile(point, AsBytes("nonsense")), IsOk());
  EXPECT_THAT(session->RunSolve({point, folder_.File("sums")}, Silent),
              IsError(absl::StatusCode::kInvalidArgument, "point"));
  SolvePoint other;
  other.feature_dim = 7;
  ASSERT_THAT(WriteFile(point, EncodeSolvePoint(other)), IsOk());
  EXPECT_THAT(session->RunSolve({point, folder_.File("sums")}, Silent),
              IsError(absl::StatusCode::kInvalidArgument, "7 features"));
  const auto none = Open(testing::SmallPlan());
  EXPECT_THAT(none->RunSolve({point, folder_.File("sums")}, Silent),
              IsError(absl::StatusCode::kInvalidArgument, "no solver"));
}

TEST_F(SessionTest, RefusesAModelOfAnotherLayoutAndGoesOn) {
  const Plan plan = testing::SmallPlan();
  Plan other = plan;
  other.classes.push_back("third");
  testing::WriteInitialModel(other, backbone_, model_);
  auto session = Open(plan);
  const std::string delta = folder_.File("delta");
  EXPECT_THAT(session->RunTrain({1, model_, delta}, Silent),
              IsError(absl::StatusCode::kInvalidArgument, "fc.weight"));
  EXPECT_THAT(session->RunTrain({1, folder_.File("none"), delta}, Silent),
              IsError(absl::StatusCode::kNotFound, "does not exist"));
  EXPECT_THAT(session->RunTrain({0, model_, delta}, Silent),
              IsError(absl::StatusCode::kInvalidArgument, "count from 1"));
  EXPECT_FALSE(std::filesystem::exists(delta));
  testing::WriteInitialModel(plan, backbone_, model_);
  EXPECT_EQ(Train(*session, 1).size(), 1026u);
}

TEST_F(SessionTest, RefusesAnEmptySplit) {
  const Plan plan = testing::SmallPlan();
  testing::WriteInitialModel(plan, backbone_, model_);
  auto session = Open(plan, {.val = 0});
  EXPECT_THAT(
      session->RunEvaluate({1, model_, Split::kVal, false, ""}, Silent),
      IsError(absl::StatusCode::kFailedPrecondition, "val split has no image"));
}

TEST_F(SessionTest, ReportsDivergenceAndLeavesNoUpdate) {
  Plan plan = FullPlan(BatchNormPolicy::kFrozen);
  plan.optimizer.learning_rate = 100;
  plan.local_epochs = 20;
  testing::WriteInitialModel(plan, backbone_, model_);
  const std::string delta = folder_.File("delta");
  EXPECT_THAT(Open(plan)->RunTrain({1, model_, delta}, Silent),
              IsError(absl::StatusCode::kFailedPrecondition, "diverged"));
  EXPECT_FALSE(std::filesystem::exists(delta));
}

TEST_F(SessionTest, RefusesLabelsOutsideThePlansClasses) {
  EXPECT_THAT(TryOpen(testing::SmallPlan(), {.classes = 3}),
              IsError(absl::StatusCode::kInvalidArgument, "0/2 has label 2"));
}

TEST_F(SessionTest, RefusesABackboneOfAnotherArchitecture) {
  Plan plan = testing::SmallPlan();
  plan.architecture = "mobilenet_v2";
  EXPECT_THAT(TryOpen(plan),
              IsError(absl::StatusCode::kInvalidArgument, "missing"));
  backbone_ = folder_.File("none");
  EXPECT_THAT(TryOpen(plan), testing::HasCode(absl::StatusCode::kNotFound));
  backbone_ = folder_.File("broken");
  ASSERT_THAT(WriteFile(backbone_, AsBytes("not safetensors")), IsOk());
  EXPECT_THAT(TryOpen(plan),
              testing::HasCode(absl::StatusCode::kInvalidArgument));
}

// LibTorch throws where an image is too small for the network.
TEST_F(SessionTest, TurnsLibTorchsExceptionsIntoStatus) {
  testing::WriteBackbone(backbone_, "squeezenet1_1");
  Plan plan = testing::SmallPlan();
  plan.architecture = "squeezenet1_1";
  plan.preprocessing.size = 2;
  testing::WriteInitialModel(plan, backbone_, model_);
  EXPECT_THAT(Open(plan)->RunTrain({1, model_, folder_.File("d")}, Silent),
              IsError(absl::StatusCode::kInternal, "LibTorch"));
}

TEST_F(SessionTest, EndsWhenNobodyListens) {
  const Plan plan = testing::SmallPlan();
  testing::WriteInitialModel(plan, backbone_, model_);
  auto session = Open(plan);
  int calls = 0;
  EXPECT_THAT(session->RunTrain({1, model_, folder_.File("d")},
                                [&](double, std::string_view) {
                                  return ++calls < 4
                                             ? absl::OkStatus()
                                             : absl::UnavailableError("gone");
                                }),
              IsError(absl::StatusCode::kUnavailable, "gone"));
  EXPECT_EQ(calls, 4);
}

}  // namespace
}  // namespace fedgraft
