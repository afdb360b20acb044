#include "client/train/activation_store.h"

#include <filesystem>
#include <numeric>

#include "client/train/path_io.h"
#include "common/runtime/posix_file_store.h"
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
  void KeepOnDisk() {
    files_ = *PosixFileStore::Open(folder_.path());
    options_.files = files_.get();
    options_.file_name = "features/a.safetensors";
  }
  std::unique_ptr<ActivationStore> Make() {
    auto store = ActivationStore::Create(options_, Silent);
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }
  torch::Tensor All(const ActivationStore& store) {
    std::vector<int64_t> images(store.count());
    std::iota(images.begin(), images.end(), 0);
    return *store.Batch(images);
  }

  testing::TempFolder folder_;
  std::unique_ptr<PosixFileStore> files_;
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
  auto again = Make();
  EXPECT_EQ(again->computed(), 0);
  EXPECT_TRUE(torch::equal(All(*again), first));
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
}

TEST_F(ActivationStoreTest, MakesADamagedFileAnew) {
  KeepOnDisk();
  const torch::Tensor first = All(*Make());
  const std::string path = folder_.File(options_.file_name);
  const Bytes good = *ReadFile(path);
  Bytes flipped = good;
  flipped[flipped.size() - 5] ^= 1;
  const Bytes truncated(good.begin(), good.begin() + good.size() / 2);
  for (const Bytes& bad : {flipped, truncated, Bytes{}}) {
    ASSERT_TRUE(WriteFile(path, bad).ok());
    auto store = Make();
    EXPECT_EQ(store->computed(), 40);
    EXPECT_TRUE(torch::equal(All(*store), first));
  }
}

TEST_F(ActivationStoreTest, KeepsNothingThatIsTooLarge) {
  const torch::Tensor kept = All(*Make());
  options_.bytes_max = 40 * 512 * 4 - 1;
  KeepOnDisk();
  auto store = Make();
  EXPECT_FALSE(std::filesystem::exists(folder_.File(options_.file_name)));
  EXPECT_TRUE(torch::allclose(All(*store), kept, 1e-4, 1e-5));
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
  const torch::Tensor view = *store->AugmentedBatch({1, 2}, spec, 9, 1);
  EXPECT_FALSE(torch::equal(view, plain));
  EXPECT_TRUE(torch::equal(view, *store->AugmentedBatch({1, 2}, spec, 9, 1)));
  EXPECT_FALSE(torch::equal(view, *store->AugmentedBatch({1, 2}, spec, 9, 2)));
  // A view belongs to the image, wherever it stands in the batch.
  EXPECT_TRUE(
      torch::equal(view[1], (*store->AugmentedBatch({2}, spec, 9, 1))[0]));
  EXPECT_TRUE(torch::equal(*store->Batch({1, 2}), plain));
}

}  // namespace
}  // namespace fedgraft
