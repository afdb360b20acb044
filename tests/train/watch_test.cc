#include "client/train/watch.h"

#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/data/phantom_source.h"
#include "client/train/path_io.h"
#include "client/train/predict.h"
#include "client/train/session.h"
#include "common/config/plan_loader.h"
#include "common/crypto/sha256.h"
#include "common/model/safetensors.h"
#include "common/runtime/system_clock.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "tests/train/fixture.h"

// A head that a run left at a site, on phantom images: on new ones with other
// shares of the classes, and from another scanner.

namespace fedgraft {
namespace {

using ::testing::HasSubstr;
using testing::IsError;
using testing::IsOk;
using testing::Silent;

const std::vector<std::string> kClasses = {"clear", "lesion"};

std::unique_ptr<DataSource> Phantom(uint64_t seed, int train, int val, int test,
                                    double prevalence = 0.5,
                                    double photons = 2000,
                                    DataUse use = DataUse::kTrain) {
  PhantomOptions options;
  options.seed = seed;
  options.train = train;
  options.val = val;
  options.test = test;
  options.spec.size = 32;
  options.spec.prevalence = prevalence;
  options.spec.lesion_contrast = 1;
  options.spec.lesion_radius_min = 3;
  options.spec.scanner.photons = photons;
  return *OpenPhantomSource(options, {kClasses, use});
}
std::unique_ptr<DataSource> Arrived(uint64_t seed, int images,
                                    double prevalence = 0.5,
                                    double photons = 2000) {
  return Phantom(seed, 0, 0, images, prevalence, photons, DataUse::kPredict);
}

class WatchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string file = folder_.File("backbone");
    testing::WriteBackbone(file, "resnet18");
    const Bytes content = *ReadFile(file);
    const std::string hash = Sha256(content).Hex();
    std::filesystem::create_directories(folder_.File("backbones"));
    const std::string backbone =
        folder_.File("backbones/" + hash + ".safetensors");
    ASSERT_THAT(WriteFile(backbone, content), IsOk());
    const auto plan = ParsePlanYaml(
        absl::StrCat(
            "version: 1\nname: own\nseed: 3\nrounds: 3\n"
            "sites: {quorum: 3, expected: 3}\n"
            "deadlines: {round: 1h, progress: 1m}\n"
            "task: {classes: [clear, lesion]}\n"
            "backbone: {architecture: resnet18, sha256: ",
            hash,
            "}\npreprocessing: {size: 32, mean: [0.5], std: [0.25]}\n"
            "strategy: {kind: linear_probe}\nlocal: {epochs: 20, batch_size: "
            "32, optimizer: {kind: adamw, learning_rate: 0.003}}\n"),
        "plan.yaml");
    ASSERT_THAT(plan, IsOk());
    SessionConfig config;
    config.plan = *plan;
    config.data = Phantom(1, 300, 250, 0);
    config.compute = {"cpu", 1, "none"};
    config.backbone_path = backbone;
    config.state_dir = run_ + "/trainer";
    const auto session = TrainerSession::Create(std::move(config), clock_);
    ASSERT_THAT(session, IsOk());
    const ParameterLayout layout = testing::LayoutOf(*plan, backbone);
    ParameterVector values =
        testing::WriteInitialModel(*plan, backbone, final_);
    for (int round = 1; round <= 3; ++round) {
      const std::string delta = folder_.File("delta");
      ASSERT_THAT((*session)->RunTrain({round, final_, delta}, Silent), IsOk());
      const ParameterVector step = testing::ReadDelta(delta);
      for (size_t i = 0; i < values.size(); ++i) values[i] += step[i];
      ASSERT_THAT(WriteFile(final_, EncodeTrainableSet(layout, values)),
                  IsOk());
    }
    model_.run_folder = run_;
    model_.card = *CardOfRun(run_);
    model_.compute = {"cpu", 1, "none"};
    own_ = Phantom(1, 300, 250, 0);
  }
  // The loss on `data` after a correction.
  absl::StatusOr<PredictResult> Correct(const DataSource& data,
                                        PriorCorrectionSpec spec) {
    PredictOptions options;
    static_cast<ModelChoice&>(options) = model_;
    options.out_path = folder_.File("out.csv");
    options.correction = std::move(spec);
    return Predict(options, data, Silent);
  }
  WatchOptions Options() const {
    WatchOptions options;
    options.model = model_;
    options.history_folder = folder_.File("watch");
    options.cache.folder = folder_.File("features");
    options.cache.bytes_max = 1 << 26;
    return options;
  }
  // Every file of the site and its bytes.
  std::map<std::string, Bytes> Files() const {
    std::map<std::string, Bytes> files;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(folder_.path())) {
      if (!entry.is_regular_file()) continue;
      files[entry.path().string()] = *ReadFile(entry.path().string());
    }
    return files;
  }

  testing::TempFolder folder_;
  SystemClock clock_;
  const std::string run_ = folder_.File("runs/0123");
  const std::string final_ = folder_.File("runs/0123/final.safetensors");
  ModelChoice model_;
  std::unique_ptr<DataSource> own_;
};

TEST_F(WatchTest, CorrectionRecoversTheLogLossThatLabelShiftCosts) {
  double savable = 0, saved = 0;
  for (const uint64_t seed : {11, 12, 13}) {
    const auto data = Arrived(seed, 250, 0.1);
    PriorCorrectionSpec spec;
    spec.validation = own_.get();
    spec.kind = PriorCorrectionKind::kEm;
    const auto em = Correct(*data, spec);
    ASSERT_THAT(em, IsOk());
    EXPECT_EQ(em->correction->validation_images, 250);
    EXPECT_LT(em->correction->target.low[1], 0.13);
    EXPECT_NEAR(em->correction->target.prior[1], 0.1, 0.06);
    spec.kind = PriorCorrectionKind::kGiven;
    spec.priors = {0.9, 0.1};
    const auto given = Correct(*data, spec);
    ASSERT_THAT(given, IsOk());
    spec.priors = em->correction->source;  // calibrated alone
    const auto uncorrected = Correct(*data, spec);
    ASSERT_THAT(uncorrected, IsOk());
    const auto loss = [](const auto& result) {
      return result->correction->metrics.at("loss");
    };
    savable += loss(uncorrected) - loss(given);
    saved += loss(uncorrected) - loss(em);
    // Ranks stay.
    EXPECT_NEAR(em->correction->metrics.at("auc"), em->metrics.at("auc"), 1e-3);
  }
  EXPECT_GT(savable / 3, 0.03);
  EXPECT_GE(saved, 0.8 * savable);
}

TEST_F(WatchTest, CorrectionWritesBothAnswersAndNeedsASource) {
  const auto data = Arrived(11, 30, 0.2);
  PriorCorrectionSpec spec;
  spec.kind = PriorCorrectionKind::kGiven;
  spec.priors = {0.8, 0.2};
  EXPECT_THAT(Correct(*data, spec).status(),
              IsError(absl::StatusCode::kFailedPrecondition, "--validation"));
  model_.card.training_priors = {0.4, 0.6};
  EXPECT_THAT(Correct(*data, spec)->correction->source,
              ::testing::ElementsAre(0.4, 0.6));
  spec.training_priors = {0.5, 0.5};
  ASSERT_THAT(Correct(*data, spec), IsOk());
  const Bytes content = *ReadFile(folder_.File("out.csv"));
  const std::string csv(AsText(content));
  EXPECT_THAT(csv, HasSubstr("image,label,predicted,p_clear,p_lesion,corrected,"
                             "corrected_p_clear,corrected_p_lesion\n"));
  // p_l * 0.2 / (p_l * 0.2 + p_c * 0.8), of the first line.
  const std::string line = csv.substr(csv.find('\n') + 1);
  char label[16], predicted[16], corrected[16];
  double p[2], q[2];
  ASSERT_EQ(std::sscanf(
                line.c_str(), "test[0],%15[^,],%15[^,],%lf,%lf,%15[^,],%lf,%lf",
                label, predicted, &p[0], &p[1], corrected, &q[0], &q[1]),
            7)
      << line;
  EXPECT_NEAR(q[1], p[1] * 0.2 / (p[1] * 0.2 + p[0] * 0.8), 1e-5);
  spec.priors = {0.8, 0.3};
  EXPECT_THAT(Correct(*data, spec).status(),
              IsError(absl::StatusCode::kInvalidArgument, "--priors"));
}

TEST_F(WatchTest, MoreOfTheSameIsQuietAndNothingButTheHistoryIsWritten) {
  const auto before = Files();
  const auto data = Arrived(21, 60);
  const auto outcome = Watch(Options(), *own_, *data, Silent);
  ASSERT_THAT(outcome, IsOk());
  EXPECT_FALSE(outcome->IsAlarm());
  EXPECT_EQ(outcome->reference, 300);
  EXPECT_EQ(outcome->report.results.size(), 7u);
  auto after = Files();
  EXPECT_EQ(after.erase(outcome->history_path), 1u);
  std::erase_if(after, [&](const auto& file) {
    return file.first.starts_with(folder_.File("features/"));
  });
  EXPECT_EQ(after, before);
  const std::string text = WatchText(*outcome, kClasses, 0.01);
  EXPECT_THAT(text, HasSubstr("60 new images, beside 300 training images"));
  EXPECT_THAT(text, HasSubstr("Quiet"));
}

TEST_F(WatchTest, ExpectedAucHoldsWhatTheLabelsSay) {
  int held = 0;
  for (const uint64_t seed : {31, 32, 33, 34}) {
    const auto data = Arrived(seed, 80);
    const auto outcome = Watch(Options(), *own_, *data, Silent);
    ASSERT_THAT(outcome, IsOk());
    const MeasureInterval& auc = *outcome->report.expected->auc;
    const double truth = Correct(*data, {})->metrics.at("auc");
    held += auc.low <= truth && truth <= auc.high ? 1 : 0;
    EXPECT_LT(auc.high - auc.low, 0.15);
  }
  // 95 % of 4: fewer than 3 with probability 1.4 %.
  EXPECT_GE(held, 3);
}

TEST_F(WatchTest, AnotherScannerIsAnAlarmInWords) {
  const auto data = Arrived(22, 60, 0.5, 300);
  const auto outcome = Watch(Options(), *own_, *data, Silent);
  ASSERT_THAT(outcome, IsOk());
  EXPECT_TRUE(outcome->IsAlarm());
  EXPECT_TRUE(outcome->report.Find("noise")->differs);
  EXPECT_FALSE(outcome->report.Find("brightness")->differs);
  EXPECT_THAT(WatchText(*outcome, kClasses, 0.01),
              HasSubstr("- noise: Check dose"));
  EXPECT_THAT(WatchJson(*outcome, kClasses, 0.01),
              HasSubstr("\"alarm\": true"));
}

TEST_F(WatchTest, CountsEachBatchOnceByModelAndOwnImages) {
  const auto data = Arrived(23, 30), other = Arrived(24, 30);
  WatchOptions options = Options();
  EXPECT_EQ(Watch(options, *own_, *data, Silent)->batches, 1u);
  const auto again = Watch(options, *own_, *data, Silent);
  EXPECT_TRUE(again->is_known_batch);
  EXPECT_EQ(again->batches, 1u);
  options.remembers = false;
  EXPECT_EQ(Watch(options, *own_, *other, Silent)->batches, 2u);
  EXPECT_EQ(Watch(options, *own_, *other, Silent)->batches, 2u);
  options.remembers = true;
  // With other images of its own the site begins anew.
  const auto grown = Phantom(1, 310, 250, 0);
  EXPECT_EQ(Watch(options, *grown, *other, Silent)->batches, 1u);
  ASSERT_THAT(WriteFile(again->history_path, AsBytes("{}")), IsOk());
  EXPECT_THAT(Watch(options, *own_, *other, Silent).status(),
              IsError(absl::StatusCode::kDataLoss, again->history_path));
}

TEST_F(WatchTest, WantsEnoughNewImages) {
  EXPECT_THAT(Watch(Options(), *own_, *Arrived(23, 19), Silent).status(),
              IsError(absl::StatusCode::kFailedPrecondition, "got 19"));
}

}  // namespace
}  // namespace fedgraft
