// A look at shift, from the records of five trainers to what each finds; the
// aggregator's part is the sum of the words.
#include "common/shift/look.h"

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/data/data_source.h"
#include "client/data/feature_source.h"
#include "client/data/phantom_source.h"
#include "client/data/seeded_random.h"
#include "client/train/path_io.h"
#include "client/train/session.h"
#include "common/config/identity.h"
#include "common/crypto/sha256.h"
#include "common/model/backbone_file.h"
#include "common/model/safetensors.h"
#include "common/model/trainable_set.h"
#include "common/runtime/system_clock.h"
#include "common/shift/devices.h"
#include "common/shift/shift_tests.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "tests/train/fixture.h"

namespace fedgraft {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

using testing::IsError;
using testing::IsOk;
using testing::Silent;

constexpr int kDim = 6, kSites = 5;
const std::vector<std::string> kClasses = {"a", "b"};

class LookTest : public ::testing::Test {
 protected:
  void SetUp() override {
    plan_ = testing::SmallPlan();
    plan_.classes = kClasses;
    plan_.architecture = kIdentity;
    plan_.feature_dim = kDim;
    plan_.quorum = plan_.expected_sites = kSites;
    plan_.shift.every = 1;
    const SafetensorsFile backbone = *OpenBackbone(plan_, "");
    layout_ = *TrainableLayout(plan_, backbone);
    ASSERT_THAT(WriteFile(model_, EncodeTrainableSet(
                                      layout_, *InitialTrainableSet(
                                                   plan_, layout_, backbone))),
                IsOk());
    for (int site = 0; site < kSites; ++site) sites_.push_back(Open(site));
  }
  // The last site's images are brighter: its first feature is moved.
  virtual std::unique_ptr<TrainerSession> Open(int site, uint64_t seed = 1) {
    SeededRandom random({static_cast<uint64_t>(site), seed});
    FeatureSet set;
    set.dim = kDim;
    for (int i = 0; i < records_; ++i) {
      const int label = i % 2;
      set.samples[Split::kTrain].push_back({label, "", std::to_string(i)});
      for (int k = 0; k < kDim; ++k) {
        double value = 2 * random.Uniform() - 1 + (k == 1 ? label : 0);
        if (site == kSites - 1 && k == 0) value += 0.8;
        set.Values(Split::kTrain).push_back(static_cast<float>(value));
      }
    }
    SessionConfig config;
    config.plan = plan_;
    config.data = *MakeFeatureSource(std::move(set), "records",
                                     {kClasses, DataUse::kTrain});
    config.compute = {"cpu", 1, "none"};
    config.state_dir = folder_.File("site" + std::to_string(site));
    auto session = TrainerSession::Create(std::move(config), clock_);
    EXPECT_THAT(session, IsOk());
    return *std::move(session);
  }
  absl::StatusOr<TrainerSession::Sketched> Sketch(TrainerSession& session,
                                                  const Look& look) {
    const std::string pooled = look.Encode().empty() ? "" : pooled_;
    if (!pooled.empty()) {
      EXPECT_THAT(WriteFile(pooled, look.Encode()), IsOk());
    }
    return session.RunSketch({1, model_, pooled, sums_}, Silent);
  }
  std::vector<double> Sums() const {
    const Bytes bytes = *ReadFile(sums_);
    std::vector<double> sums(bytes.size() / sizeof(double));
    std::memcpy(sums.data(), bytes.data(), bytes.size());
    return sums;
  }
  // All stages; returns what each site found. Before stage `restart` (if any)
  // every trainer begins anew.
  std::vector<std::map<std::string, double>> Run(int restart = -1) {
    Look look = *Look::Create(plan_, layout_);
    first_site_.clear();
    std::vector<std::map<std::string, double>> found(kSites);
    for (int stage = 0; !look.done() && stage < kLookStagesMax; ++stage) {
      if (look.asks_verdicts()) compared_ = Sha256(look.Encode());
      std::vector<uint64_t> words(static_cast<size_t>(look.words()));
      for (int site = 0; site < kSites; ++site) {
        if (stage == restart) sites_[site] = Open(site);
        const auto sketched = Sketch(*sites_[site], look);
        EXPECT_THAT(sketched.status(), IsOk());
        EXPECT_EQ(sketched->samples, static_cast<uint64_t>(records_));
        EXPECT_EQ(sketched->scalars.empty(), !look.asks_verdicts());
        found[site] = sketched->scalars;
        const auto one = look.Pack(Sums());
        EXPECT_THAT(one.status(), IsOk());
        if (site == 0) first_site_.push_back(*one);
        for (size_t i = 0; i < words.size(); ++i) words[i] += (*one)[i];
      }
      EXPECT_THAT(look.Add(std::move(words)), IsOk());
    }
    EXPECT_TRUE(look.done());
    verdicts_ = look.Verdicts();
    return found;
  }
  // What each site says with an update.
  std::vector<bool> News(const Digest& compared) {
    std::vector<bool> news;
    for (const auto& site : sites_) {
      TrainerSession::Train task{1, model_, folder_.File("delta")};
      task.compared_look = compared.AsWire();
      const auto trained = site->RunTrain(task, Silent);
      EXPECT_THAT(trained.status(), IsOk());
      news.push_back(trained->has_news);
    }
    return news;
  }

  testing::TempFolder folder_;
  const std::string model_ = folder_.File("model.safetensors");
  const std::string sums_ = folder_.File("sums");
  const std::string pooled_ = folder_.File("pooled");
  SystemClock clock_;
  int records_ = 200;
  Plan plan_;
  ParameterLayout layout_;
  std::vector<std::unique_ptr<TrainerSession>> sites_;
  std::map<std::string, double> verdicts_;
  std::vector<std::vector<uint64_t>> first_site_;  // its words, by stage
  Digest compared_;                                // of the newest look
};

TEST_F(LookTest, FindsTheSiteWhoseImagesDifferAndInWhat) {
  const auto found = Run();
  EXPECT_LT(found[4].at("shift.covariate_mmd.p"), 1e-4);
  EXPECT_GT(found[4].at("shift.concept_score.p"), 1e-3);
  for (int site = 0; site < 4; ++site) {
    // The others that it is compared with hold the last site's images.
    EXPECT_GT(found[4].at("shift.covariate_mmd.effect"),
              5 * found[site].at("shift.covariate_mmd.effect"))
        << site;
    EXPECT_EQ(found[site].at("shift.new_records"), records_);
  }
  EXPECT_EQ(verdicts_.at("shift_sites"), kSites);
  EXPECT_GE(verdicts_.at("shift_sites_covariate_mmd"), 1);
}

TEST_F(LookTest, TheSameRecordsAreNewOnce) {
  Run();
  const auto again = Run();
  for (const auto& found : again) EXPECT_EQ(found.at("shift.new_records"), 0);
}

TEST_F(LookTest, ATrainerThatBeginsAnewAnswersTheSame) {
  const auto whole = Run();
  // Files remember what was seen.
  for (int site = 0; site < kSites; ++site) sites_[site] = Open(site);
  const auto restarted = Run(/*restart=*/2);
  for (int site = 0; site < kSites; ++site) {
    auto expected = whole[site];
    expected["shift.new_records"] = 0;
    EXPECT_EQ(restarted[site], expected) << site;
  }
}

// Phantom sites through a backbone; the last one's scanner uses a fifth of the
// dose.
class ImageLookTest : public LookTest {
 protected:
  void SetUp() override {
    plan_ = testing::SmallPlan();
    plan_.quorum = plan_.expected_sites = kSites;
    plan_.shift.every = 1;
    backbone_ = folder_.File("backbone");
    testing::WriteBackbone(backbone_, plan_.architecture);
    plan_.backbone = Sha256(*ReadFile(backbone_));
    testing::WriteInitialModel(plan_, backbone_, model_);
    layout_ = testing::LayoutOf(plan_, backbone_);
    for (int site = 0; site < kSites; ++site) {
      sites_.push_back(Open(site, 1));
    }
  }
  virtual SessionConfig ConfigOf(int site, uint64_t seed) {
    PhantomOptions phantom;
    phantom.seed = static_cast<uint64_t>(site) + 100 * seed;
    phantom.train = records_ = 60;
    phantom.spec.size = 32;
    if (site == kSites - 1) phantom.spec.scanner.photons = 400;
    SessionConfig config;
    config.plan = plan_;
    config.data = *OpenPhantomSource(phantom, {plan_.classes, DataUse::kTrain});
    config.compute = {"cpu", 1, "none"};
    config.backbone_path = backbone_;
    return config;
  }
  std::unique_ptr<TrainerSession> Open(int site, uint64_t seed) override {
    auto session = TrainerSession::Create(ConfigOf(site, seed), clock_);
    EXPECT_THAT(session, IsOk());
    return *std::move(session);
  }
  std::string backbone_;
};

TEST_F(ImageLookTest, FindsInWhatAScannerDiffers) {
  const auto found = Run();
  EXPECT_LT(found[4].at("shift.acquisition_noise.p"), 1e-6);
  EXPECT_GT(found[4].at("shift.acquisition_brightness.p"), 1e-3);
  for (int site = 0; site < 4; ++site) {
    for (const char* test : {"brightness", "contrast", "noise", "sharpness"}) {
      EXPECT_LT(found[site].at(
                    ShiftScalar("acquisition_" + std::string(test), "effect")),
                found[4].at("shift.acquisition_noise.effect") / 2)
          << test << " " << site;
    }
  }
  EXPECT_GE(verdicts_.at("shift_sites_acquisition_noise"), 1);
}

// Images that tell which scanner they are from, as DICOM files do.
class ScannedSource final : public DataSource {
 public:
  ScannedSource(std::unique_ptr<DataSource> images, DeviceNames scanner)
      : images_(std::move(images)), scanner_(std::move(scanner)) {}
  const std::vector<Sample>& Samples(Split split) const override {
    return images_->Samples(split);
  }
  const std::vector<std::string>& Warnings() const override {
    return images_->Warnings();
  }
  absl::StatusOr<Image> Load(Split split, size_t index) const override {
    absl::StatusOr<Image> image = images_->Load(split, index);
    if (image.ok()) image->device = scanner_;
    return image;
  }

 private:
  const std::unique_ptr<DataSource> images_;
  const DeviceNames scanner_;
};

class ScannerLookTest : public ImageLookTest {
 protected:
  void SetUp() override {
    ImageLookTest::SetUp();
    plan_.shift.devices = true;
    scanners_ = std::vector<DeviceNames>(kSites, {"GE MEDICAL SYSTEMS", "Hx"});
    scanners_[4] = {"SIEMENS", "Aera"};
  }
  void OpenAll() {
    for (int site = 0; site < kSites; ++site) sites_[site] = Open(site, 1);
  }
  SessionConfig ConfigOf(int site, uint64_t seed) override {
    SessionConfig config = ImageLookTest::ConfigOf(site, seed);
    if (scanners_.empty()) return config;
    config.data = std::make_unique<ScannedSource>(std::move(config.data),
                                                  scanners_[site]);
    config.share_devices = shared_;
    return config;
  }
  std::vector<DeviceNames> scanners_;
  bool shared_ = true;
};

TEST_F(ScannerLookTest, FindsTheSiteOfAnotherScannerAndCountsAll) {
  OpenAll();
  const auto found = Run();
  EXPECT_LT(found[4].at("shift.acquisition_manufacturer.p"), 1e-6);
  EXPECT_LT(found[4].at("shift.acquisition_model.p"), 1e-6);
  EXPECT_EQ(verdicts_.at("shift_scanners_ge"), 4 * records_);
  EXPECT_EQ(verdicts_.at("shift_scanners_siemens"), records_);
  EXPECT_FALSE(verdicts_.contains("shift_scanners_not_told"));
}

// Whatever its scanners are.
TEST_F(ScannerLookTest, ASiteWhosePolicyKeepsScannersInSendsTheSame) {
  OpenAll();
  Run();
  const auto told = first_site_;
  scanners_[0] = {"Philips", "Ingenia"};
  OpenAll();
  Run();
  EXPECT_NE(first_site_, told);
  shared_ = false;
  OpenAll();
  const auto found = Run();
  const auto silent = first_site_;
  scanners_[0] = {"GE MEDICAL SYSTEMS", "Hx"};
  OpenAll();
  Run();
  EXPECT_EQ(first_site_, silent);
  EXPECT_FALSE(found[4].contains("shift.acquisition_manufacturer.p"));
  EXPECT_LT(found[4].at("shift.acquisition_noise.p"), 1e-6);
  EXPECT_EQ(verdicts_.at("shift_scanners_not_told"), kSites * records_);
  EXPECT_FALSE(verdicts_.contains("shift_scanners_ge"));
}

TEST_F(ScannerLookTest, APlanThatDoesNotAskGetsNone) {
  plan_.shift.devices = false;
  OpenAll();
  const auto found = Run();
  EXPECT_FALSE(found[4].contains("shift.acquisition_manufacturer.p"));
  for (const auto& [name, value] : verdicts_) {
    EXPECT_FALSE(name.starts_with(kScannerPrefix)) << name;
  }
}

TEST_F(LookTest, FeatureVectorsDoNotTellHowImagesWereTaken) {
  EXPECT_FALSE(Run()[4].contains("shift.acquisition_noise.p"));
}

TEST_F(LookTest, TheRecordsOfTheNewestLookAreNoNews) {
  EXPECT_THAT(News(Sha256({})), Each(true));  // no look yet
  Run();
  EXPECT_THAT(News(compared_), Each(false));
  // Nor have trainers that begin anew any.
  for (int site = 0; site < kSites; ++site) sites_[site] = Open(site);
  EXPECT_THAT(News(compared_), Each(false));
}

TEST_F(LookTest, OtherRecordsAndAMissedLookAreNews) {
  Run();
  const Digest first = compared_;
  sites_[2] = Open(2, /*seed=*/7);
  EXPECT_THAT(News(first), ElementsAre(false, false, true, false, false));
  const auto found = Run();
  for (int site = 0; site < kSites; ++site) {
    EXPECT_EQ(found[site].at("shift.new_records"), site == 2 ? records_ : 0);
  }
  EXPECT_NE(compared_, first);
  EXPECT_THAT(News(compared_), Each(false));
  // To sites that saw the second look, all since the first is news.
  EXPECT_THAT(News(first), Each(true));
}

TEST_F(LookTest, WeightsOfRecordsAreOfTheNewestLook) {
  plan_.shift.on_shift = OnShift::kApply;
  for (int site = 0; site < kSites; ++site) sites_[site] = Open(site);
  const std::string delta = folder_.File("delta");
  const auto train = [&](SiteRemedy remedy) {
    TrainerSession::Train task{1, model_, delta};
    task.remedy = remedy;
    auto trained = sites_[4]->RunTrain(task, Silent);
    EXPECT_THAT(trained, IsOk());
    return std::pair(testing::ReadDelta(delta), trained->scalars);
  };
  const auto plain = train(SiteRemedy::kNone);
  // No look yet.
  EXPECT_EQ(train(SiteRemedy::kImportanceWeights), plain);
  Run();
  EXPECT_EQ(train(SiteRemedy::kNone), plain);
  const auto weighted = train(SiteRemedy::kImportanceWeights);
  EXPECT_NE(weighted.first, plain.first);
  EXPECT_EQ(weighted.second.at("record_weights_applied"), 1);
  EXPECT_LT(weighted.second.at("record_weights_share"), 0.99);
  // Both classes are as common everywhere: nothing to correct.
  const auto prior = train(SiteRemedy::kPriorCorrection);
  EXPECT_NEAR(prior.second.at("record_weights_share"), 1, 1e-12);
  sites_[4] = Open(4);
  EXPECT_EQ(train(SiteRemedy::kImportanceWeights), weighted);
}

TEST_F(LookTest, TooUnevenWeightsAreNotUsed) {
  plan_.importance.target = ImportanceTarget::kPooled;
  plan_.importance.min_ess = 1;
  for (int site = 0; site < kSites; ++site) sites_[site] = Open(site);
  const std::string delta = folder_.File("delta");
  ASSERT_THAT(sites_[4]->RunTrain({1, model_, delta}, Silent), IsOk());
  const ParameterVector plain = testing::ReadDelta(delta);
  Run();
  const auto trained = sites_[4]->RunTrain({1, model_, delta}, Silent);
  ASSERT_THAT(trained, IsOk());
  EXPECT_EQ(trained->scalars.at("record_weights_applied"), 0);
  EXPECT_EQ(testing::ReadDelta(delta), plain);
}

TEST_F(LookTest, RefusesWhatIsNoLook) {
  ASSERT_THAT(WriteFile(pooled_, Bytes(100, 7)), IsOk());
  EXPECT_THAT(
      sites_[0]->RunSketch({1, model_, pooled_, sums_}, Silent).status(),
      IsError(absl::StatusCode::kInvalidArgument, "pooled look"));
  plan_.shift.every = 0;
  EXPECT_THAT(Open(0)->RunSketch({1, model_, "", sums_}, Silent).status(),
              IsError(absl::StatusCode::kInvalidArgument, "shift.every 0"));
}

}  // namespace
}  // namespace fedgraft
