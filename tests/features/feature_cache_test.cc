#include "client/features/feature_cache.h"

#include <filesystem>
#include <fstream>

#include "tests/features/features_fixture.h"
#include "tests/support/temp_folder.h"

namespace fedgraft {
namespace {

using testing::Content;
using ::testing::ElementsAre;
using testing::FeaturesTest;
using ::testing::IsEmpty;
using testing::IsError;
using testing::IsOk;
using testing::Named;
using testing::SegmentBytes;
using ::testing::SizeIs;

class FeatureCacheTest : public FeaturesTest {
 protected:
  std::string Store(FeatureCache& cache, const std::string& space,
                    const std::vector<std::string>& keys) {
    const auto name = cache.Store(Content(space, keys));
    EXPECT_THAT(name, IsOk());
    return name.ok() ? *name : "";
  }
};

TEST_F(FeatureCacheTest, FindsSegmentsOfASpaceAgain) {
  std::string a, b;
  {
    auto cache = Open();
    a = Store(*cache, "a", {"1", "2"});
    b = Store(*cache, "b", {"1"});
  }
  auto cache = Open();
  EXPECT_THAT(cache->Segments(Named("a")), ElementsAre(a));
  EXPECT_THAT(cache->Segments(Named("b")), ElementsAre(b));
  EXPECT_THAT(cache->Segments(Named("c")), IsEmpty());
  EXPECT_EQ(cache->bytes(), SegmentBytes(2) + SegmentBytes(1));
}

TEST_F(FeatureCacheTest, EvictsWhatWasUsedLongestAgo) {
  bytes_max_ = 3 * SegmentBytes(1);
  auto cache = Open();
  const std::string a = Store(*cache, "a", {"1"});
  const std::string b = Store(*cache, "b", {"1"});
  const std::string c = Store(*cache, "c", {"1"});
  cache->MarkUsed({a});
  Store(*cache, "d", {"1"});
  EXPECT_FALSE(files_.Exists(b));
  EXPECT_TRUE(files_.Exists(a));
  EXPECT_TRUE(files_.Exists(c));
  Store(*cache, "e", {"1"});
  EXPECT_FALSE(files_.Exists(c));
  EXPECT_TRUE(files_.Exists(a));
  EXPECT_EQ(cache->bytes(), bytes_max_);
}

TEST_F(FeatureCacheTest, RemembersTheOrderOfUse) {
  bytes_max_ = 3 * SegmentBytes(1);
  std::string a, b, c;
  {
    auto cache = Open();
    a = Store(*cache, "a", {"1"});
    b = Store(*cache, "b", {"1"});
    c = Store(*cache, "c", {"1"});
    cache->MarkUsed({a});
    cache->MarkUsed({b});
  }
  auto cache = Open();
  Store(*cache, "d", {"1"});
  EXPECT_FALSE(files_.Exists(c));
  Store(*cache, "e", {"1"});
  EXPECT_FALSE(files_.Exists(a));
  EXPECT_TRUE(files_.Exists(b));
}

TEST_F(FeatureCacheTest, AGarbledOrderOfUseCostsTheOrderOnly) {
  {
    auto cache = Open();
    Store(*cache, "a", {"1"});
    Store(*cache, "b", {"1"});
  }
  files_.SetContent("usage", Bytes(100, 0xff));
  auto cache = Open();
  EXPECT_THAT(cache->Segments(Named("a")), SizeIs(1));
  EXPECT_THAT(cache->Segments(Named("b")), SizeIs(1));
}

TEST_F(FeatureCacheTest, EvictsAsMuchAsItTakes) {
  bytes_max_ = SegmentBytes(4);
  auto cache = Open();
  for (const char* space : {"a", "b", "c"}) Store(*cache, space, {"1"});
  const std::string large = Store(*cache, "d", {"1", "2", "3", "4"});
  EXPECT_THAT(SegmentFiles(), ElementsAre(large));
}

TEST_F(FeatureCacheTest, RefusesASegmentAboveTheLimitAndKeepsTheRest) {
  bytes_max_ = SegmentBytes(2);
  auto cache = Open();
  const std::string a = Store(*cache, "a", {"1"});
  EXPECT_THAT(cache->Store(Content("b", {"1", "2", "3"})),
              IsError(absl::StatusCode::kResourceExhausted, "in a cache of"));
  EXPECT_THAT(SegmentFiles(), ElementsAre(a));
}

TEST_F(FeatureCacheTest, AFullDiskLeavesTheRestAlone) {
  auto cache = Open();
  const std::string a = Store(*cache, "a", {"1"});
  files_.FailAppends(1);
  EXPECT_THAT(cache->Store(Content("b", {"1"})),
              IsError(absl::StatusCode::kResourceExhausted, "disk full"));
  EXPECT_THAT(SegmentFiles(), ElementsAre(a));
  Store(*cache, "b", {"1"});
  EXPECT_THAT(SegmentFiles(), SizeIs(2));
}

TEST_F(FeatureCacheTest, RemovesWhatCannotBeASegment) {
  {
    auto cache = Open();
    Store(*cache, "a", {"1"});
  }
  files_.SetContent("broken.features", Bytes(40, 1));
  files_.SetContent("half.features.tmp", Bytes(40, 1));
  files_.SetContent("README", Bytes(40, 1));
  Open();
  EXPECT_THAT(SegmentFiles(), SizeIs(1));
  EXPECT_FALSE(files_.Exists("half.features.tmp"));
  EXPECT_TRUE(files_.Exists("README"));  // not ours
}

TEST_F(FeatureCacheTest, RemovesOpenTextOnceItIsToBeEncrypted) {
  {
    auto cache = Open();
    Store(*cache, "a", {"1"});
  }
  key_.assign(32, 3);
  EXPECT_THAT(Open()->Segments(Named("a")), IsEmpty());
  EXPECT_THAT(SegmentFiles(), IsEmpty());
}

TEST_F(FeatureCacheTest, AnotherKeyFindsNothing) {
  key_.assign(32, 3);
  {
    auto cache = Open();
    Store(*cache, "a", {"1"});
  }
  key_.assign(32, 4);
  auto cache = Open();
  const auto names = cache->Segments(Named("a"));
  ASSERT_THAT(names, SizeIs(1));
  EXPECT_TRUE(absl::IsDataLoss(cache->OpenSegment(names[0]).status()));
  EXPECT_THAT(SegmentFiles(), IsEmpty());
}

TEST_F(FeatureCacheTest, SeesWhatAnotherProcessStoresAndRemoves) {
  auto one = Open();
  auto two = Open();
  const std::string a = Store(*one, "a", {"1"});
  EXPECT_THAT(two->Segments(Named("a")), ElementsAre(a));
  EXPECT_EQ(two->bytes(), SegmentBytes(1));
  two->Drop(a, absl::DataLossError("test"));
  EXPECT_THAT(one->Segments(Named("a")), IsEmpty());
  EXPECT_EQ(one->bytes(), 0u);
}

class FeatureCacheFolderTest : public ::testing::Test {
 protected:
  void WriteKey(size_t bytes, std::filesystem::perms mode) {
    std::ofstream(spec_.key_file) << std::string(bytes, 'k');
    std::filesystem::permissions(spec_.key_file, mode);
  }
  testing::TempFolder folder_;
  FeatureCacheSpec spec_{folder_.File("features"), 1 << 20, false,
                         folder_.File("key")};
};

TEST_F(FeatureCacheFolderTest, WorksInAFolderForItsOwnerOnly) {
  WriteKey(32, std::filesystem::perms::owner_read);
  auto cache = FeatureCache::Open(spec_);
  ASSERT_THAT(cache, IsOk());
  const auto name = (*cache)->Store(Content("a", {"1"}));
  ASSERT_THAT(name, IsOk());
  const auto mode =
      std::filesystem::status(spec_.folder + "/" + *name).permissions();
  EXPECT_EQ(mode, std::filesystem::perms::owner_read |
                      std::filesystem::perms::owner_write);
  EXPECT_THAT((*FeatureCache::Open(spec_))->OpenSegment(*name), IsOk());
}

TEST_F(FeatureCacheFolderTest, RefusesAKeyThatOthersReadOrThatIsShort) {
  EXPECT_THAT(FeatureCache::Open(spec_),
              IsError(absl::StatusCode::kFailedPrecondition, "cannot read"));
  WriteKey(31, std::filesystem::perms::owner_read);
  EXPECT_THAT(FeatureCache::Open(spec_),
              IsError(absl::StatusCode::kFailedPrecondition, "31 bytes"));
  std::filesystem::remove(spec_.key_file);
  WriteKey(32, std::filesystem::perms::owner_read |
                   std::filesystem::perms::group_read);
  EXPECT_THAT(FeatureCache::Open(spec_),
              IsError(absl::StatusCode::kFailedPrecondition, "chmod 600"));
}

}  // namespace
}  // namespace fedgraft
