#include <set>

#include "tests/features/features_fixture.h"

namespace fedgraft {
namespace {

using testing::IsOk;
using testing::Named;
using testing::SegmentBytes;

// Power fails at every change to the disk in turn. Afterwards every row is
// right or absent, what was stored before is there, no half file is left, the
// limit holds, and the work can be done again.
class FeatureCrashTest : public testing::FeaturesTest,
                         public ::testing::WithParamInterface<bool> {
 protected:
  FeatureCrashTest() {
    if (GetParam()) key_.assign(32, 9);
  }
};

TEST_P(FeatureCrashTest, EveryRowIsRightOrAbsent) {
  const std::vector<std::string> old_keys = {"old 1", "old 2"};
  const std::vector<std::string> new_keys = {"1", "2", "3", "4", "5"};
  bool finished = false;
  uint64_t steps = 0;
  for (uint64_t halt_after = 1; !finished; ++halt_after, ++steps) {
    SCOPED_TRACE(halt_after);
    for (uint64_t seed = 1; seed <= 5; ++seed) {
      testing::SimFileStore files;
      const auto open = [&] {
        FeatureCache::Options options;
        options.files = &files;
        options.bytes_max = 6 * SegmentBytes(2);
        options.key = SecretBytes(ByteSpan(key_));
        options.random = &random_;
        return FeatureCache::Open(std::move(options));
      };
      {
        auto cache = open();
        FeatureTable table(**cache, Named("space"));
        ASSERT_THAT(Add(table, old_keys), IsOk());
      }
      files.HaltAfter(halt_after);
      {
        auto cache = open();
        if (cache.ok()) {
          FeatureTable table(**cache, Named("space"), 2 * testing::kRowBytes);
          finished = Add(table, new_keys).ok();
        }
      }
      files.Crash(halt_after * 100 + seed);

      auto cache = open();
      ASSERT_THAT(cache, IsOk());
      for (const std::string& path : files.AllPaths()) {
        EXPECT_FALSE(path.ends_with(".tmp")) << path;
      }
      FeatureTable table(**cache, Named("space"));
      for (const std::string& key : old_keys) EXPECT_TRUE(Has(table, key));
      std::vector<std::string> missing;
      for (const std::string& key : new_keys) {
        if (!Has(table, key)) missing.push_back(key);
      }
      if (finished) {
        EXPECT_TRUE(missing.empty());
      }
      ASSERT_THAT(Add(table, missing), IsOk());
      FeatureTable again(**cache, Named("space"));
      for (const std::string& key : new_keys) EXPECT_TRUE(Has(again, key));
      EXPECT_LE((*cache)->bytes(), (*cache)->bytes_max());
    }
  }
  EXPECT_GT(steps, 10u);
}

INSTANTIATE_TEST_SUITE_P(PlainAndEncrypted, FeatureCrashTest,
                         ::testing::Bool());

}  // namespace
}  // namespace fedgraft
