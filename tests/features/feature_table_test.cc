#include "client/features/feature_table.h"

#include "tests/features/features_fixture.h"

namespace fedgraft {
namespace {

using ::testing::IsEmpty;
using testing::IsOk;
using testing::Named;
using testing::RowFor;
using testing::SegmentBytes;
using ::testing::SizeIs;

class FeatureTableTest : public testing::FeaturesTest {
 protected:
  const Digest space_ = Named("space");
};

TEST_F(FeatureTableTest, RowsAreThereBeforeAndAfterTheyAreStored) {
  auto cache = Open();
  FeatureTable table(*cache, space_);
  EXPECT_TRUE(table.dims().empty());
  ASSERT_THAT(table.Add(Named("a"), {3}, RowFor(Named("a"))), IsOk());
  EXPECT_TRUE(Has(table, "a"));
  EXPECT_THAT(SegmentFiles(), IsEmpty());
  ASSERT_THAT(table.Flush(), IsOk());
  EXPECT_TRUE(Has(table, "a"));
  FeatureTable again(*cache, space_);
  EXPECT_EQ(again.dims(), std::vector<int64_t>{3});
  EXPECT_TRUE(Has(again, "a"));
  EXPECT_FALSE(Has(again, "b"));
  FeatureTable other(*cache, Named("other"));
  EXPECT_FALSE(Has(other, "a"));
}

TEST_F(FeatureTableTest, StoresASegmentAtATime) {
  auto cache = Open();
  FeatureTable table(*cache, space_, 3 * testing::kRowBytes);
  for (const char* key : {"a", "b", "c", "d"}) {
    ASSERT_THAT(table.Add(Named(key), {3}, RowFor(Named(key))), IsOk());
  }
  EXPECT_THAT(SegmentFiles(), SizeIs(1));
  FeatureTable crashed(*cache, space_);
  EXPECT_TRUE(Has(crashed, "c"));
  EXPECT_FALSE(Has(crashed, "d"));
  ASSERT_THAT(table.Flush(), IsOk());
  EXPECT_THAT(SegmentFiles(), SizeIs(2));
  for (const char* key : {"a", "b", "c", "d"}) EXPECT_TRUE(Has(table, key));
}

TEST_F(FeatureTableTest, ADamagedRowTakesItsSegmentWithIt) {
  auto cache = Open();
  FeatureTable writer(*cache, space_);
  ASSERT_THAT(Add(writer, {"a", "b"}), IsOk());
  const std::string damaged = SegmentFiles()[0];
  ASSERT_THAT(Add(writer, {"c"}), IsOk());
  Bytes content = files_.Content(damaged);
  content.back() ^= 1;  // the tag of "b"
  files_.SetContent(damaged, content);

  FeatureTable table(*cache, space_);
  EXPECT_TRUE(Has(table, "a"));
  EXPECT_FALSE(Has(table, "b"));
  EXPECT_FALSE(Has(table, "a"));
  EXPECT_TRUE(Has(table, "c"));
  EXPECT_FALSE(files_.Exists(damaged));
  // And it can be made anew.
  ASSERT_THAT(Add(table, {"a", "b"}), IsOk());
  FeatureTable again(*cache, space_);
  for (const char* key : {"a", "b", "c"}) EXPECT_TRUE(Has(again, key)) << key;
}

TEST_F(FeatureTableTest, ReadingKeepsASegmentFromEviction) {
  bytes_max_ = 2 * SegmentBytes(1);
  auto cache = Open();
  FeatureTable a(*cache, Named("a")), b(*cache, Named("b"));
  ASSERT_THAT(Add(a, {"1"}), IsOk());
  ASSERT_THAT(Add(b, {"1"}), IsOk());
  EXPECT_TRUE(Has(a, "1"));
  ASSERT_THAT(a.Flush(), IsOk());
  FeatureTable c(*cache, Named("c"));
  ASSERT_THAT(Add(c, {"1"}), IsOk());
  FeatureTable new_a(*cache, Named("a")), new_b(*cache, Named("b"));
  EXPECT_TRUE(Has(new_a, "1"));
  EXPECT_FALSE(Has(new_b, "1"));
  EXPECT_TRUE(Has(b, "1"));  // who has it open reads on
}

TEST_F(FeatureTableTest, ForgetsRowsThatCouldNotBeStored) {
  auto cache = Open();
  FeatureTable table(*cache, space_);
  ASSERT_THAT(Add(table, {"a"}), IsOk());
  files_.FailSyncs(1);
  EXPECT_FALSE(Add(table, {"b"}).ok());
  EXPECT_TRUE(Has(table, "a"));
  EXPECT_FALSE(Has(table, "b"));
  ASSERT_THAT(Add(table, {"b"}), IsOk());
  EXPECT_TRUE(Has(table, "b"));
}

TEST_F(FeatureTableTest, LeavesOutASegmentOfAnotherShape) {
  auto cache = Open();
  SegmentContent other = testing::Content("space", {"x"});
  other.dims = {1, 3};
  ASSERT_THAT(cache->Store(other), IsOk());
  ASSERT_THAT(cache->Store(testing::Content("space", {"y"})), IsOk());
  FeatureTable table(*cache, space_);
  EXPECT_NE(Has(table, "x"), Has(table, "y"));
  EXPECT_THAT(SegmentFiles(), SizeIs(1));
}

}  // namespace
}  // namespace fedgraft
