#include "client/agent/feature_cache_setup.h"

#include <filesystem>
#include <fstream>

#include "common/runtime/folder_lock.h"
#include "gtest/gtest.h"
#include "tests/support/sim_random.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace fedgraft {
namespace {

using testing::IsError;
using testing::IsOk;

class FeatureCacheSetupTest : public ::testing::Test {
 protected:
  FeatureCacheSetupTest() {
    config_.set_state_dir(folder_.File("state"));
    config_.mutable_cache()->set_size_max_mib(1);
    config_.mutable_cache()->set_encrypt(true);
  }
  testing::TempFolder folder_;
  testing::SimRandom random_{3};
  pb::ClientConfig config_;
};

TEST_F(FeatureCacheSetupTest, MakesAKeyOnceForItsOwnerOnly) {
  const auto setup = SetUpFeatureCache(config_, random_);
  ASSERT_THAT(setup, IsOk());
  EXPECT_EQ(setup->folder, folder_.File("state/features"));
  EXPECT_EQ(setup->config.key_file(), folder_.File("state/features.key"));
  const auto key = ReadSecretFile(setup->config.key_file(), 64);
  ASSERT_THAT(key, IsOk());
  EXPECT_EQ(key->size(), 32u);
  ASSERT_THAT(SetUpFeatureCache(config_, random_), IsOk());
  EXPECT_EQ(ReadSecretFile(setup->config.key_file(), 64)->span(), key->span());
}

TEST_F(FeatureCacheSetupTest, ACheckMakesNothing) {
  ASSERT_THAT(CheckFeatureCache(config_), IsOk());
  EXPECT_FALSE(std::filesystem::exists(folder_.File("state")));
}

TEST_F(FeatureCacheSetupTest, NamesAKeyFileThatCannotBeUsed) {
  const std::string key = folder_.File("key");
  config_.mutable_cache()->set_key_file(key);
  std::ofstream(key) << "short";
  std::filesystem::permissions(key, std::filesystem::perms::owner_read);
  EXPECT_THAT(SetUpFeatureCache(config_, random_),
              IsError(absl::StatusCode::kFailedPrecondition, "5 bytes"));
  std::filesystem::permissions(key, std::filesystem::perms::others_read |
                                        std::filesystem::perms::owner_read);
  EXPECT_THAT(SetUpFeatureCache(config_, random_),
              IsError(absl::StatusCode::kFailedPrecondition, "chmod 600"));
  config_.mutable_cache()->set_encrypt(false);
  EXPECT_THAT(SetUpFeatureCache(config_, random_), IsOk());
}

TEST_F(FeatureCacheSetupTest, RefusesALimitThatTheDiskCannotHold) {
  config_.mutable_cache()->set_size_max_mib(int64_t{1} << 24);
  EXPECT_THAT(SetUpFeatureCache(config_, random_),
              IsError(absl::StatusCode::kResourceExhausted,
                      "cache.size_max_mib: found 16777216; the disk of"));
  EXPECT_FALSE(std::filesystem::exists(folder_.File("state")));
}

// What the cache holds already is no reason to refuse it.
TEST_F(FeatureCacheSetupTest, CountsItsOwnFilesAsFree) {
  const auto free_mib = std::filesystem::space(folder_.path()).available >> 20;
  std::filesystem::create_directories(folder_.File("state/features"));
  const std::string file = folder_.File("state/features/x.features");
  std::ofstream(file).put('x');
  // Sparse: as long as what lacks, and takes nothing.
  std::filesystem::resize_file(file, uint64_t{1} << 40);
  config_.mutable_cache()->set_size_max_mib(
      static_cast<int64_t>(free_mib + (1 << 19)));
  EXPECT_THAT(CheckFeatureCache(config_), IsOk());
  std::filesystem::remove(file);
  EXPECT_FALSE(CheckFeatureCache(config_).ok());
}

TEST_F(FeatureCacheSetupTest, NoCacheNeedsNoKey) {
  config_.mutable_cache()->set_size_max_mib(0);
  const auto setup = SetUpFeatureCache(config_, random_);
  ASSERT_THAT(setup, IsOk());
  EXPECT_EQ(setup->folder, "");
  EXPECT_FALSE(std::filesystem::exists(folder_.File("state")));
}

}  // namespace
}  // namespace fedgraft
