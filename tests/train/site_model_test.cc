#include "client/train/site_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/data/feature_source.h"
#include "client/data/seeded_random.h"
#include "client/train/path_io.h"
#include "client/train/predict.h"
#include "client/train/session.h"
#include "common/config/plan_loader.h"
#include "common/crypto/sha256.h"
#include "common/model/backbone_file.h"
#include "common/model/control_variates.h"
#include "common/model/safetensors.h"
#include "common/model/trainable_set.h"
#include "common/runtime/system_clock.h"
#include "common/solve/head_values.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "tests/train/fixture.h"

// Predictions with what of a run stays at a site, against what the site's
// session evaluated.

namespace fedgraft {
namespace {

using testing::FakeSource;
using testing::HasCode;
using testing::IsError;
using testing::IsOk;
using testing::Silent;

std::string PlanText(const std::string& backbone, const std::string& rest) {
  return absl::StrCat(
      "version: 1\nname: own\nseed: 3\nsites: {quorum: 3, expected: 3}\n"
      "deadlines: {round: 1h, progress: 1m}\ntask: {classes: [left, right]}\n"
      "backbone: {",
      backbone, "}\n", rest);
}

class SiteModelTest : public ::testing::Test {
 protected:
  // A session of this plan; its run's folder is as the daemon would have it.
  void Start(const std::string& text, std::unique_ptr<DataSource> data) {
    const auto plan = ParsePlanYaml(text, "plan.yaml");
    ASSERT_THAT(plan, IsOk());
    plan_ = *plan;
    SessionConfig config;
    config.plan = plan_;
    config.data = std::move(data);
    config.compute = {"cpu", 1, "none"};
    config.backbone_path = backbone_path_;
    config.state_dir = run_ + "/trainer";
    auto session = TrainerSession::Create(std::move(config), clock_);
    ASSERT_THAT(session, IsOk());
    session_ = *std::move(session);
  }
  // The same on images, with a backbone beside the runs' folder.
  void StartOnImages(const std::string& rest) {
    const std::string file = folder_.File("backbone");
    testing::WriteBackbone(file, "resnet18");
    const Bytes content = *ReadFile(file);
    const std::string hash = Sha256(content).Hex();
    std::filesystem::create_directories(folder_.File("backbones"));
    backbone_path_ = folder_.File("backbones/" + hash + ".safetensors");
    ASSERT_THAT(WriteFile(backbone_path_, content), IsOk());
    Start(PlanText(absl::StrCat("architecture: resnet18, sha256: ", hash),
                   "rounds: 2\npreprocessing: {size: 32, mean: [0.5], std: "
                   "[0.25]}\nlocal: {epochs: 2, batch_size: 5}\n" +
                       rest),
          Images());
    testing::WriteInitialModel(plan_, backbone_path_, final_);
    for (int round = 1; round <= 2; ++round) {
      ASSERT_THAT(
          session_->RunTrain({round, final_, folder_.File("delta")}, Silent),
          IsOk());
    }
  }
  static std::unique_ptr<DataSource> Images() {
    return std::make_unique<FakeSource>(FakeSource::Options{.contrast = 0.2});
  }
  std::map<std::string, double> Evaluate() {
    const auto evaluated = session_->RunEvaluate(
        {plan_.rounds, final_, Split::kTest, false, ""}, Silent);
    EXPECT_THAT(evaluated, IsOk());
    return evaluated->scalars;
  }
  absl::StatusOr<PredictResult> TryPredict(const DataSource& data,
                                           bool is_personal = false) {
    PredictOptions options;
    options.run_folder = run_;
    options.is_personal = is_personal;
    options.out_path = folder_.File("out.csv");
    options.compute = {"cpu", 1, "none"};
    auto card = CardOfRun(run_);
    if (!card.ok()) return card.status();
    options.card = *std::move(card);
    return Predict(options, data, Silent);
  }
  double LossOf(const DataSource& data, bool is_personal = false) {
    const auto result = TryPredict(data, is_personal);
    EXPECT_THAT(result, IsOk());
    return result.ok() ? result->metrics.at("loss") : std::nan("");
  }

  testing::TempFolder folder_;
  SystemClock clock_;
  std::string run_ = folder_.File("runs/0123");
  std::string final_ = folder_.File("runs/0123/final.safetensors");
  std::string backbone_path_;
  Plan plan_;
  std::unique_ptr<TrainerSession> session_;
};

TEST_F(SiteModelTest, HasTheSitesOwnHead) {
  StartOnImages(
      "strategy: {kind: partial, unfreeze: [\"layer4.1.*\"]}\n"
      "personal: {kind: local_head}\n");
  const double loss = LossOf(*Images());
  EXPECT_NEAR(loss, Evaluate().at("loss"), 1e-6);
  EXPECT_THAT(TryPredict(*Images(), /*is_personal=*/true),
              IsError(absl::StatusCode::kFailedPrecondition, "ditto"));
  // Without its rounds it would say something else.
  std::filesystem::remove_all(run_ + "/trainer/local");
  EXPECT_GT(std::abs(LossOf(*Images()) - loss), 1e-3);
}

TEST_F(SiteModelTest, HasTheSitesOwnBatchNorm) {
  StartOnImages("strategy: {kind: full, batch_norm: local}\n");
  const double loss = LossOf(*Images());
  EXPECT_NEAR(loss, Evaluate().at("loss"), 1e-5);
  std::filesystem::remove_all(run_ + "/trainer/local");
  EXPECT_GT(std::abs(LossOf(*Images()) - loss), 1e-3);
}

TEST_F(SiteModelTest, IsThePersonalOneWhereAskedFor) {
  StartOnImages(
      "strategy: {kind: partial, unfreeze: [\"layer4.1.*\"]}\n"
      "personal: {kind: ditto}\n");
  const auto scalars = Evaluate();
  EXPECT_NEAR(LossOf(*Images()), scalars.at("loss"), 1e-6);
  EXPECT_NEAR(LossOf(*Images(), true), scalars.at("personal_loss"), 1e-6);
  EXPECT_GT(std::abs(scalars.at("loss") - scalars.at("personal_loss")), 1e-3);
}

// Sites whose classes are not as frequent as those of the shared head.
std::unique_ptr<DataSource> Vectors(DataUse use) {
  FeatureSet set;
  set.dim = 3;
  for (const Split split : {Split::kTrain, Split::kVal, Split::kTest}) {
    SeededRandom random({8, static_cast<uint64_t>(split)});
    if (use == DataUse::kPredict && split != Split::kTest) continue;
    for (int i = 0; i < 40; ++i) {
      const int label = i % 4 == 0 ? 1 : 0;
      set.samples[split].push_back(
          {label, "", absl::StrCat(static_cast<int>(split), "/", i)});
      for (int k = 0; k < 3; ++k) {
        set.Values(split).push_back(
            static_cast<float>(2 * random.Uniform() - 1 + (k == 0) * label));
      }
    }
  }
  return *MakeFeatureSource(std::move(set), "vectors",
                            {{"left", "right"}, use});
}

TEST_F(SiteModelTest, HasTheSitesOwnInterceptsAndNormalisation) {
  for (const char* own : {"site_intercept: true", "normalization: per_site"}) {
    SCOPED_TRACE(own);
    std::filesystem::remove_all(run_);
    Start(PlanText("architecture: identity, feature_dim: 3",
                   absl::StrCat("rounds: 0\nstrategy: {kind: linear_probe}\n"
                                "solver: {kind: newton, ",
                                own, "}\n")),
          Vectors(DataUse::kTrain));
    // A shared head that would call everything `left`.
    const ParameterLayout layout =
        *TrainableLayout(plan_, *OpenBackbone(plan_, ""));
    ParameterVector values(static_cast<size_t>(layout.Count()), 0.3f);
    SetHead(plan_, layout, {1, 0, 0, 9, -1, 0, 0, -9}, values);
    ASSERT_THAT(WriteFile(final_, EncodeTrainableSet(layout, values)), IsOk());
    const auto data = Vectors(DataUse::kPredict);
    // It has not evaluated this model: there is nothing of its own.
    EXPECT_THAT(TryPredict(*data),
                IsError(absl::StatusCode::kNotFound, "when it evaluates"));
    const double loss = Evaluate().at("loss");
    EXPECT_NEAR(LossOf(*data), loss, 1e-6);
    // Another model takes the place of the first.
    values[0] += 1;
    ASSERT_THAT(WriteFile(final_, EncodeTrainableSet(layout, values)), IsOk());
    EXPECT_THAT(TryPredict(*data), HasCode(absl::StatusCode::kNotFound));
    const double other = Evaluate().at("loss");
    EXPECT_NEAR(LossOf(*data), other, 1e-6);
    const std::filesystem::directory_iterator kept(run_ + "/trainer/site_head");
    EXPECT_EQ(std::distance(kept, std::filesystem::directory_iterator()), 1);
  }
}

// The final model of a run with rule scaffold holds control variates, too.
TEST_F(SiteModelTest, LeavesControlVariatesOfTheRunAside) {
  Start(PlanText("architecture: identity, feature_dim: 3",
                 "rounds: 2\nstrategy: {kind: linear_probe}\n"
                 "rule: {kind: scaffold}\nupdate: {weighting: uniform}\n"
                 "local: {optimizer: {momentum: 0}}\n"),
        Vectors(DataUse::kTrain));
  const SafetensorsFile none = *OpenBackbone(plan_, "");
  const ParameterLayout layout = *TrainableLayout(plan_, none);
  ParameterVector values = *InitialTrainableSet(plan_, layout, none);
  const ControlVariates control(layout);
  ASSERT_EQ(control.count(), 8u);
  std::fill_n(values.begin() + static_cast<ptrdiff_t>(control.begin()), 8, 9);
  values.back() = 2;  // of the head
  ASSERT_THAT(WriteFile(final_, EncodeTrainableSet(layout, values)), IsOk());
  const double loss = Evaluate().at("loss");
  EXPECT_NEAR(LossOf(*Vectors(DataUse::kPredict)), loss, 1e-6);
}

TEST_F(SiteModelTest, WantsAFinishedRunOfThisSite) {
  EXPECT_THAT(TryPredict(*Images()),
              IsError(absl::StatusCode::kNotFound, "took part"));
  StartOnImages("strategy: {kind: linear_probe}\n");
  std::filesystem::remove(final_);
  EXPECT_THAT(TryPredict(*Images()),
              IsError(absl::StatusCode::kNotFound, "final"));
}

}  // namespace
}  // namespace fedgraft
