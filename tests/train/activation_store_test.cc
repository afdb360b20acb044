#include "client/train/activation_store.h"

#include <filesystem>
#include <fstream>
#include <numeric>

#include "client/train/path_io.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "tests/train/fixture.h"

namespace fedgraft {
namespace {

using testing::FakeSource;
using testing::IsError;
using testing::Silent;

class ActivationStoreTest : public ::testing::Test {
 protected:
  ActivationStoreTest() {
    PreprocessingSpec spec;
    spec.size = 32;
    preprocessor_.emplace(*Preprocessor::Create(spec));
    options_.network = network_.get();
    options_.compute = &compute_;
    options_.source = &source_;
    options_.preprocessor = &*preprocessor_;
    options_.stage = network_->head_stage();
  }
  void KeepOnDisk(uint64_t bytes_max = 1 << 20) {
    FeatureCacheSpec spec;
    spec.folder = folder_.path();
    spec.bytes_max = bytes_max;
    spec.key_file = key_file_;
    cache_ = *FeatureCache::Open(spec);
    options_.cache = cache_.get();
  }
  std::unique_ptr<ActivationStore> Make() {
    auto store = ActivationStore::Create(options_, Silent);
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }
  // The one segment in the folder.
  std::string SegmentPath() {
    for (const auto& entry :
         std::filesystem::directory_iterator(folder_.path())) {
      if (entry.path().extension() == ".features") return entry.path();
    }
    return "";
  }
  torch::Tensor All(const ActivationStore& store) {
    std::vector<int64_t> images(store.count());
    std::iota(images.begin(), images.end(), 0);
    return *store.Batch(images);
  }

  testing::TempFolder folder_;
  std::string key_file_;  // empty: not encrypted
  std::unique_ptr<FeatureCache> cache_;
  // More than one chunk.
  FakeSource source_{{.train = 40}};
  std::shared_ptr<Network> network_ = testing::SeededNetwork("resnet18", 2);
  Compute compute_;
  std::optional<Preprocessor> preprocessor_;
  ActivationStore::Options options_;
};

TEST_F(ActivationStoreTest, HoldsWhatTheFrozenStagesGive) {
  auto store = Make();
  options_.stage = 0;
  auto images = Make();
  torch::NoGradGuard no_grad;
  EXPECT_EQ(store->count(), 40);
  EXPECT_EQ(store->labels()[3], 1);
  EXPECT_TRUE(torch::allclose(All(*store), network_->Features(All(*images)),
                              1e-4, 1e-5));
}

TEST_F(ActivationStoreTest, DecodesAndComputesOnce) {
  auto store = Make();
  EXPECT_EQ(source_.loads(), 40);
  EXPECT_EQ(store->computed(), 40);
  ASSERT_TRUE(store->Batch({3, 1}).ok());
  EXPECT_EQ(source_.loads(), 40);
}

TEST_F(ActivationStoreTest, SelectsInTheOrderAsked) {
  auto store = Make();
  const torch::Tensor all = All(*store);
  const torch::Tensor batch = *store->Batch({7, 2});
  EXPECT_TRUE(torch::equal(batch[0], all[7]));
  EXPECT_TRUE(torch::equal(batch[1], all[2]));
}

TEST_F(ActivationStoreTest, FindsActivationsOnDiskAgain) {
  KeepOnDisk();
  const torch::Tensor first = All(*Make());
  KeepOnDisk();  // as a new process
  auto again = Make();
  EXPECT_EQ(again->computed(), 0);
  EXPECT_TRUE(torch::equal(All(*again), first));
}

TEST_F(ActivationStoreTest, EncryptsThem) {
  key_file_ = folder_.File("key");
  ASSERT_TRUE(WriteFile(key_file_, Bytes(32, 5)).ok());
  KeepOnDisk();
  const torch::Tensor first = All(*Make());
  KeepOnDisk();
  auto again = Make();
  EXPECT_EQ(again->computed(), 0);
  EXPECT_TRUE(torch::equal(All(*again), first));
  ASSERT_TRUE(WriteFile(key_file_, Bytes(32, 6)).ok());
  KeepOnDisk();
  auto other_key = Make();
  EXPECT_EQ(other_key->computed(), 40);
  EXPECT_TRUE(torch::equal(All(*other_key), first));
}

TEST_F(ActivationStoreTest, AnotherSpaceIsComputed) {
  KeepOnDisk();
  Make();
  options_.space.bytes[0] = 1;
  EXPECT_EQ(Make()->computed(), 40);
  options_.space.bytes[0] = 0;
  EXPECT_EQ(Make()->computed(), 0);
}

TEST_F(ActivationStoreTest, ComputesOnlyImagesThatChanged) {
  KeepOnDisk();
  const torch::Tensor first = All(*Make());
  source_.ChangeTrainImage(5);
  auto changed = Make();
  EXPECT_EQ(changed->computed(), 1);
  const torch::Tensor second = All(*changed);
  EXPECT_FALSE(torch::equal(second[5], first[5]));
  EXPECT_TRUE(torch::equal(second[4], first[4]));
  EXPECT_EQ(Make()->computed(), 0);
  // The bytes of the one do not tell that it was computed alone.
  options_.cache = nullptr;
  EXPECT_TRUE(torch::equal(All(*Make()), second));
}

TEST_F(ActivationStoreTest, MakesADamagedFileAnew) {
  KeepOnDisk();
  const torch::Tensor first = All(*Make());
  const std::string path = SegmentPath();
  const Bytes good = *ReadFile(path);
  Bytes flipped = good;
  ASSERT_GE(flipped.size(), 20u);
  flipped[flipped.size() - 20] ^= 1;  // in the last row
  const Bytes truncated(good.begin(), good.begin() + good.size() / 2);
  struct Case {
    Bytes content;
    int64_t computed;
  };
  for (const Case& bad : {Case{flipped, 1}, {truncated, 40}, {{}, 40}}) {
    for (const auto& entry :
         std::filesystem::directory_iterator(folder_.path())) {
      std::filesystem::remove(entry.path());
    }
    ASSERT_TRUE(WriteFile(path, bad.content).ok());
    KeepOnDisk();
    auto store = Make();
    EXPECT_EQ(store->computed(), bad.computed);
    EXPECT_TRUE(torch::equal(All(*store), first));
    // Whatever was lost with the file is there again after one more run.
    Make();
    KeepOnDisk();
    EXPECT_EQ(Make()->computed(), 0);
  }
}

// Wherever activations are kept, and without a second look at any image.
TEST_F(ActivationStoreTest, MeasuresHowImagesWereTakenAsItDecodesThem) {
  EXPECT_TRUE(Make()->acquisition().empty());
  options_.measures_acquisition = true;
  std::vector<AcquisitionNumbers> expected;
  for (size_t i = 0; i < 40; ++i) {
    expected.push_back(MeasureAcquisition(*source_.Load(Split::kTrain, i)));
  }
  const auto kept = Make();
  const int loads = source_.loads();
  All(*kept);
  EXPECT_EQ(kept->acquisition(), expected);
  EXPECT_EQ(source_.loads(), loads);
  options_.bytes_max = 40 * 512 * 4 - 1;
  const auto nowhere = Make();
  All(*nowhere);
  EXPECT_EQ(nowhere->acquisition(), expected);
  KeepOnDisk();
  Make();
  KeepOnDisk();
  EXPECT_EQ(Make()->acquisition(), expected);  // all rows are cached
}

TEST_F(ActivationStoreTest, NotesScannersAsItDecodesImagesAndOnlyIfWanted) {
  EXPECT_TRUE(Make()->devices().empty());
  options_.device_seed = 7;
  EXPECT_EQ(Make()->devices(), std::vector<DeviceBins>(40));
  FakeSource scanned({.train = 40, .device = {"SIEMENS", "Aera"}});
  options_.source = &scanned;
  const std::vector<DeviceBins> expected(40,
                                         BinsOfDevice(7, {"SIEMENS", "Aera"}));
  ASSERT_NE(expected[0], DeviceBins());
  KeepOnDisk();
  EXPECT_EQ(Make()->devices(), expected);
  KeepOnDisk();
  EXPECT_EQ(Make()->devices(), expected);  // all rows are cached
  options_.cache = nullptr;
  options_.bytes_max = 40 * 512 * 4 - 1;
  const auto nowhere = Make();
  All(*nowhere);
  EXPECT_EQ(nowhere->devices(), expected);
}

// In memory, from disk, and computed for every batch: the same bytes.
TEST_F(ActivationStoreTest, ThePlaceDoesNotShowInTheValues) {
  const torch::Tensor kept = All(*Make());
  options_.bytes_max = 40 * 512 * 4 - 1;
  const auto nowhere = Make();
  KeepOnDisk();
  const auto on_disk = Make();
  EXPECT_EQ(on_disk->computed(), 40);
  for (const auto* store : {&nowhere, &on_disk}) {
    const int loads = source_.loads();
    EXPECT_TRUE(torch::equal(All(**store), kept));
    EXPECT_EQ(source_.loads() - loads, store == &nowhere ? 40 : 0);
  }
  KeepOnDisk();
  const auto warm = Make();
  EXPECT_EQ(warm->computed(), 0);
  EXPECT_TRUE(torch::equal(All(*warm), kept));
}

TEST_F(ActivationStoreTest, ComputesAgainWhatIsDamagedWhileInUse) {
  KeepOnDisk();
  options_.bytes_max = 0;
  auto store = Make();
  const torch::Tensor first = All(*store);
  KeepOnDisk();
  auto other = Make();
  // In place, as a failing disk does.
  std::fstream(SegmentPath(), std::ios::in | std::ios::out | std::ios::binary)
      .seekp(-20, std::ios::end)
      .put('x');
  EXPECT_TRUE(torch::equal(All(*other), first));
}

TEST_F(ActivationStoreTest, ALimitTooSmallForTheSplitIsNotUsed) {
  KeepOnDisk(40 * 512 * 4);
  auto store = Make();
  EXPECT_EQ(cache_->bytes(), 0u);
  EXPECT_EQ(Make()->computed(), 40);
  KeepOnDisk(1 << 20);
  Make();
  EXPECT_GT(cache_->bytes(), 40u * 512 * 4);
}

TEST_F(ActivationStoreTest, HalfPrecisionRoundsWarmAndColdAlike) {
  const torch::Tensor exact = All(*Make());
  options_.half = true;
  KeepOnDisk();
  const torch::Tensor cold = All(*Make());
  const uint64_t bytes = cache_->bytes();
  EXPECT_LT(bytes, 40u * 512 * 2 + 40 * 64 + 1000);
  auto warm = Make();
  EXPECT_EQ(warm->computed(), 0);
  EXPECT_TRUE(torch::equal(All(*warm), cold));
  options_.bytes_max = 0;
  EXPECT_TRUE(torch::equal(All(*Make()), cold));
  EXPECT_FALSE(torch::equal(cold, exact));
  EXPECT_TRUE(torch::allclose(cold, exact, 0x1p-11, 0x1p-25));
}

TEST_F(ActivationStoreTest, NamesAnImageThatCannotBeDecoded) {
  source_.BreakTrainImage(35);
  EXPECT_THAT(
      ActivationStore::Create(options_, Silent),
      IsError(absl::StatusCode::kInvalidArgument, "image 0/35: not an image"));
}

TEST_F(ActivationStoreTest, StopsWhenNobodyListens) {
  const auto store = ActivationStore::Create(
      options_,
      [](double, std::string_view) { return absl::UnavailableError("gone"); });
  EXPECT_THAT(store, IsError(absl::StatusCode::kUnavailable, "gone"));
}

TEST_F(ActivationStoreTest, DrawsViewsByEpoch) {
  options_.stage = 0;
  auto store = Make();
  AugmentationSpec spec;
  spec.rotate_degrees = 20;
  spec.horizontal_flip = true;
  const torch::Tensor plain = *store->Batch({1, 2});
  const torch::Tensor view = *store->TrainingBatch({1, 2}, spec, 9, 1);
  EXPECT_FALSE(torch::equal(view, plain));
  EXPECT_TRUE(torch::equal(view, *store->TrainingBatch({1, 2}, spec, 9, 1)));
  EXPECT_FALSE(torch::equal(view, *store->TrainingBatch({1, 2}, spec, 9, 2)));
  // A view belongs to the image, wherever it stands in the batch.
  EXPECT_TRUE(
      torch::equal(view[1], (*store->TrainingBatch({2}, spec, 9, 1))[0]));
  EXPECT_TRUE(torch::equal(*store->Batch({1, 2}), plain));
}

class KeptViewsTest : public ActivationStoreTest {
 protected:
  KeptViewsTest() {
    options_.augmentation.rotate_degrees = 20;
    options_.augmentation.horizontal_flip = true;
    options_.augmentation.views = options_.views = 3;
    options_.seed = 9;
  }
  torch::Tensor Epoch(const ActivationStore& store, uint64_t epoch) {
    return *store.TrainingBatch({1, 2, 39}, options_.augmentation,
                                options_.seed, epoch);
  }
};

TEST_F(KeptViewsTest, EpochsGoThroughTheViewsInTurn) {
  auto store = Make();
  EXPECT_EQ(store->computed(), 120);
  EXPECT_EQ(store->count(), 40);
  EXPECT_EQ(source_.loads(), 40);
  for (uint64_t epoch : {0, 1, 2}) {
    EXPECT_TRUE(torch::equal(Epoch(*store, epoch), Epoch(*store, epoch + 3)));
  }
  EXPECT_FALSE(torch::equal(Epoch(*store, 0), Epoch(*store, 1)));
  EXPECT_FALSE(torch::equal(Epoch(*store, 1), Epoch(*store, 2)));
  EXPECT_TRUE(torch::equal(*store->Batch({1, 2, 39}), Epoch(*store, 0)));
}

// View v is the one that a new view in epoch v would be.
TEST_F(KeptViewsTest, AViewIsThatOfTheSeedAndItsNumber) {
  auto store = Make();
  options_.stage = 0;
  options_.views = 0;
  auto images = Make();
  torch::NoGradGuard no_grad;
  EXPECT_TRUE(torch::allclose(
      Epoch(*store, 2), network_->Features(Epoch(*images, 2)), 1e-4, 1e-5));
}

TEST_F(KeptViewsTest, AreFoundAgainAndSharedByWhoeverDrawsThem) {
  KeepOnDisk();
  const auto first = Make();
  KeepOnDisk();
  auto again = Make();
  EXPECT_EQ(again->computed(), 0);
  for (uint64_t epoch : {0, 1, 2}) {
    EXPECT_TRUE(torch::equal(Epoch(*again, epoch), Epoch(*first, epoch)));
  }
  options_.views = 4;
  EXPECT_EQ(Make()->computed(), 40);
  options_.seed = 10;
  EXPECT_EQ(Make()->computed(), 160);
}

TEST_F(KeptViewsTest, ThePlaceDoesNotShowInTheValues) {
  const auto kept = Make();
  options_.bytes_max = 0;
  const auto nowhere = Make();
  KeepOnDisk();
  const auto on_disk = Make();
  for (uint64_t epoch : {0, 1, 2}) {
    EXPECT_TRUE(torch::equal(Epoch(*nowhere, epoch), Epoch(*kept, epoch)));
    EXPECT_TRUE(torch::equal(Epoch(*on_disk, epoch), Epoch(*kept, epoch)));
  }
}

}  // namespace
}  // namespace fedgraft
