#include "client/features/feature_segment.h"

#include <filesystem>

#include "common/runtime/posix_file_store.h"
#include "tests/features/features_fixture.h"
#include "tests/support/temp_folder.h"

namespace fedgraft {
namespace {

using testing::Content;
using testing::IsError;
using testing::IsOk;
using testing::Named;
using testing::RowFor;

// Plain and encrypted.
class FeatureSegmentTest : public ::testing::TestWithParam<bool> {
 protected:
  FeatureSegmentTest() {
    if (GetParam()) key_.assign(32, 7);
  }
  Bytes Encoded() {
    return *EncodeSegment(Content("space", {"a", "b", "c"}), key_, random_);
  }
  absl::StatusOr<std::unique_ptr<FeatureSegment>> Open(const Bytes& file) {
    files_.SetContent("s", file);
    return FeatureSegment::Open(files_, "s", "", key_);
  }

  testing::SimFileStore files_;
  testing::SimRandom random_{1};
  Bytes key_;
};

TEST_P(FeatureSegmentTest, GivesBackItsRows) {
  auto segment = Open(Encoded());
  ASSERT_THAT(segment, IsOk());
  EXPECT_EQ((*segment)->header().space, Named("space"));
  EXPECT_EQ((*segment)->header().dims, std::vector<int64_t>{3});
  ASSERT_EQ((*segment)->keys().size(), 3u);
  EXPECT_EQ((*segment)->keys()[1], Named("b"));
  Bytes row(testing::kRowBytes);
  for (uint32_t i : {2u, 0u, 2u}) {
    ASSERT_THAT((*segment)->Read(i, absl::MakeSpan(row)), IsOk());
    EXPECT_EQ(row, RowFor((*segment)->keys()[i]));
  }
}

TEST_P(FeatureSegmentTest, IsMappedFromARealDisk) {
  const testing::TempFolder folder;
  const auto files = *PosixFileStore::Open(folder.path());
  ASSERT_THAT(WriteAtomically(*files, "s", Encoded()), IsOk());
  auto segment = FeatureSegment::Open(*files, "s", folder.path(), key_);
  ASSERT_THAT(segment, IsOk());
  // Still there when the name is gone.
  ASSERT_THAT(files->Remove("s"), IsOk());
  Bytes row(testing::kRowBytes);
  ASSERT_THAT((*segment)->Read(1, absl::MakeSpan(row)), IsOk());
  EXPECT_EQ(row, RowFor(Named("b")));
}

// Every single bit of the file counts: the segment does not open, or the row
// that it hits does not.
TEST_P(FeatureSegmentTest, NoFlippedBitGoesUnnoticed) {
  const Bytes good = Encoded();
  for (size_t at = 0; at < good.size(); ++at) {
    Bytes bad = good;
    bad[at] ^= static_cast<uint8_t>(1 << (at % 8));
    auto segment = Open(bad);
    int damaged = segment.ok() ? 0 : 1;
    if (segment.ok()) {
      Bytes row(testing::kRowBytes);
      for (uint32_t i = 0; i < 3; ++i) {
        const absl::Status read = (*segment)->Read(i, absl::MakeSpan(row));
        if (!read.ok()) {
          EXPECT_TRUE(absl::IsDataLoss(read)) << read;
          ++damaged;
        }
      }
    }
    EXPECT_EQ(damaged, 1) << "byte " << at;
  }
}

TEST_P(FeatureSegmentTest, RefusesEveryOtherLength) {
  const Bytes good = Encoded();
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_THAT(Open(Bytes(good.begin(), good.begin() + size)),
                IsError(absl::StatusCode::kDataLoss, "feature segment"));
  }
  Bytes longer = good;
  longer.push_back(0);
  EXPECT_THAT(Open(longer), IsError(absl::StatusCode::kDataLoss, "bytes for"));
}

TEST_P(FeatureSegmentTest, RefusesRowsInAnotherPlace) {
  Bytes swapped = Encoded();
  const SegmentHeader header =
      *SegmentHeader::Decode(ByteSpan(swapped).subspan(0, header.kBytes));
  std::swap_ranges(swapped.begin() + header.RowOffset(0),
                   swapped.begin() + header.RowOffset(1),
                   swapped.begin() + header.RowOffset(1));
  auto segment = Open(swapped);
  ASSERT_THAT(segment, IsOk());
  Bytes row(testing::kRowBytes);
  EXPECT_TRUE(absl::IsDataLoss((*segment)->Read(0, absl::MakeSpan(row))));
  EXPECT_TRUE(absl::IsDataLoss((*segment)->Read(1, absl::MakeSpan(row))));
  EXPECT_THAT((*segment)->Read(2, absl::MakeSpan(row)), IsOk());
}

TEST_P(FeatureSegmentTest, RefusesAnImpossibleRowSize) {
  SegmentContent huge = Content("space", {"a"});
  huge.row_bytes = (uint64_t{1} << 28) + 1;
  huge.rows.resize(huge.row_bytes);
  EXPECT_THAT(EncodeSegment(huge, key_, random_),
              IsError(absl::StatusCode::kResourceExhausted, "at most"));
}

INSTANTIATE_TEST_SUITE_P(PlainAndEncrypted, FeatureSegmentTest,
                         ::testing::Bool());

TEST(EncryptedSegmentTest, HidesKeysAndRowsAndNeverRepeatsItself) {
  testing::SimRandom random(1);
  const Bytes key(32, 7);
  const SegmentContent content = Content("space", {"a", "b", "c"});
  const Bytes first = *EncodeSegment(content, key, random);
  const Bytes second = *EncodeSegment(content, key, random);
  for (const Digest& secret : content.keys) {
    for (size_t size : {testing::kRowBytes, uint64_t{32}}) {
      EXPECT_EQ(std::search(first.begin(), first.end(), secret.bytes.begin(),
                            secret.bytes.begin() + size),
                first.end());
    }
  }
  // Another salt, another key: no byte of the body lines up but by chance.
  size_t equal = 0;
  for (size_t i = SegmentHeader::kBytes; i < first.size(); ++i) {
    equal += first[i] == second[i];
  }
  EXPECT_LT(equal, (first.size() - SegmentHeader::kBytes) / 8);
}

TEST(EncryptedSegmentTest, OpensWithItsKeyOnly) {
  testing::SimRandom random(1);
  testing::SimFileStore files;
  const Bytes key(32, 7), other(32, 8), none;
  files.SetContent("s", *EncodeSegment(Content("space", {"a"}), key, random));
  EXPECT_THAT(FeatureSegment::Open(files, "s", "", key), IsOk());
  EXPECT_TRUE(
      absl::IsDataLoss(FeatureSegment::Open(files, "s", "", other).status()));
  EXPECT_THAT(FeatureSegment::Open(files, "s", "", none),
              IsError(absl::StatusCode::kDataLoss, "there is no key"));
  files.SetContent("p", *EncodeSegment(Content("space", {"a"}), none, random));
  EXPECT_THAT(FeatureSegment::Open(files, "p", "", key),
              IsError(absl::StatusCode::kDataLoss, "is not encrypted"));
}

}  // namespace
}  // namespace fedgraft
