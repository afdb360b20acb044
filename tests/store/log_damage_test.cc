// What a log says after its file was cut, changed, or caught by a power
// failure.

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregator/store/log_format.h"
#include "gtest/gtest.h"
#include "tests/store/log_fixture.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using testing::IsError;
using testing::IsOk;

constexpr char kFirst[] = "log/log-00000001";
const std::vector<std::string>& Records() {
  static const auto& records =
      *new std::vector<std::string>{"alpha", "beta-beta", "c", "delta"};
  return records;
}

// Where each record's batch ends in the file.
std::vector<size_t> Ends() {
  std::vector<size_t> ends;
  size_t end = kSegmentHeaderBytes;
  for (const std::string& record : Records()) {
    ends.push_back(end += kBatchHeaderBytes + 4 + record.size());
  }
  return ends;
}

// The file with one batch per record.
Bytes SmallLog() {
  LogFixture fixture;
  EXPECT_THAT(fixture.Open(), IsOk());
  fixture.AppendAll(Records());
  EXPECT_EQ(fixture.files_.Content(kFirst).size(), Ends().back());
  return fixture.files_.Content(kFirst);
}

TEST(LogDamageTest, EveryTruncationKeepsTheWholeBatchesBeforeIt) {
  const Bytes whole = SmallLog();
  const std::vector<size_t> ends = Ends();
  for (size_t size = 0; size <= whole.size(); ++size) {
    LogFixture fixture;
    fixture.files_.SetContent(
        kFirst, Bytes(whole.begin(), whole.begin() + static_cast<long>(size)));
    ASSERT_THAT(fixture.Open(), IsOk()) << size;
    const size_t kept = static_cast<size_t>(
        std::upper_bound(ends.begin(), ends.end(), size) - ends.begin());
    ASSERT_EQ(fixture.replayed_.size(), kept) << size;
    // The log goes on behind them.
    fixture.AppendAll({"new"});
    EXPECT_EQ(*fixture.answers_[0], kept + 1);
    ASSERT_THAT(fixture.Open(), IsOk()) << size;
    ASSERT_EQ(fixture.replayed_.size(), kept + 1);
    EXPECT_EQ(fixture.replayed_.back(), "new");
  }
}

TEST(LogDamageTest, EveryChangedByteIsFoundUnlessInTheLastBatch) {
  const Bytes whole = SmallLog();
  const std::vector<size_t> ends = Ends();
  const size_t last_begin = ends[ends.size() - 2];
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const uint8_t change : {0x01, 0x80, 0xff}) {
      LogFixture fixture;
      Bytes damaged = whole;
      damaged[i] ^= change;
      fixture.files_.SetContent(kFirst, damaged);
      const absl::Status opened = fixture.Open();
      if (i < last_begin) {
        // The batch that holds byte i, or the segment header.
        size_t begin = 0;
        if (i >= kSegmentHeaderBytes) begin = kSegmentHeaderBytes;
        for (const size_t end : ends) {
          if (end <= i) begin = end;
        }
        EXPECT_THAT(opened, IsError(absl::StatusCode::kDataLoss,
                                    absl::StrCat(kFirst, " is damaged at byte ",
                                                 begin, ":")))
            << i;
        EXPECT_EQ(fixture.files_.Content(kFirst), damaged) << "left alone";
      } else {
        // Like a torn write: dropped.
        ASSERT_THAT(opened, IsOk()) << i;
        EXPECT_EQ(fixture.replayed_.size(), Records().size() - 1);
      }
    }
  }
}

TEST(LogDamageTest, RecordThatLooksLikeABatchDoesNotHideATornTail) {
  // A site sends the bytes of a batch that would follow, made with the salt
  // that it can only guess.
  const Bytes inner = EncodeBatch(0, 9, {AsBytes("forged")});
  LogFixture fixture;
  ASSERT_THAT(fixture.Open(), IsOk());
  fixture.AppendAll({"one", std::string(AsText(inner))});
  Bytes content = fixture.files_.Content(kFirst);
  content[content.size() - inner.size() - 5] ^= 1;  // the outer batch header
  fixture.files_.SetContent(kFirst, content);
  ASSERT_THAT(fixture.Open(), IsOk());
  EXPECT_THAT(fixture.replayed_, ElementsAre("one"));
}

TEST(LogDamageTest, TornTailIsAllowedInTheNewestSegmentOnly) {
  LogFixture fixture;
  fixture.options_.segment_bytes = 50;
  ASSERT_THAT(fixture.Open(), IsOk());
  fixture.AppendAll({"one", "two", "three"});
  Bytes content = fixture.files_.Content("log/log-00000002");
  content.pop_back();
  fixture.files_.SetContent("log/log-00000002", content);
  EXPECT_THAT(fixture.Open(),
              IsError(absl::StatusCode::kDataLoss, "log/log-00000002"));
}

TEST(LogDamageTest, MissingOrForeignSegmentsAreDamage) {
  LogFixture fixture;
  fixture.options_.segment_bytes = 50;
  ASSERT_THAT(fixture.Open(), IsOk());
  fixture.AppendAll({"one", "two", "three"});
  const Bytes second = fixture.files_.Content("log/log-00000002");
  ASSERT_THAT(fixture.files_.Remove("log/log-00000002"), IsOk());
  EXPECT_THAT(fixture.Open(),
              IsError(absl::StatusCode::kDataLoss, "log-00000002 is missing"));
  // The third segment's bytes under the second's name.
  fixture.files_.SetContent("log/log-00000002",
                            fixture.files_.Content("log/log-00000003"));
  EXPECT_THAT(fixture.Open(), IsError(absl::StatusCode::kDataLoss,
                                      "expected segment 2 from record 2"));
  fixture.files_.SetContent("log/log-00000002", second);
  EXPECT_THAT(fixture.Open(), IsOk());
}

TEST(LogDamageTest, SegmentThatWasBeingMadeIsMadeAgain) {
  for (size_t bytes = 0; bytes <= kSegmentHeaderBytes; ++bytes) {
    LogFixture fixture;
    fixture.options_.segment_bytes = 50;
    ASSERT_THAT(fixture.Open(), IsOk());
    fixture.AppendAll({"one"});
    fixture.files_.SetContent("log/log-00000002", Bytes(bytes, 0));
    ASSERT_THAT(fixture.Open(), IsOk()) << bytes;
    fixture.AppendAll({"two"});
    ASSERT_THAT(fixture.Open(), IsOk()) << bytes;
    EXPECT_THAT(fixture.replayed_, ElementsAre("one", "two"));
  }
}

// One life: a random load, then a power failure at a random moment. Returns
// the records known to be durable.
size_t LoadAndCrash(LogFixture& fixture, uint64_t seed,
                    std::vector<std::string>& appended) {
  testing::SimRandom random(seed);
  size_t durable = fixture.replayed_.size();
  appended = fixture.replayed_;
  for (int i = 0; i < 30; ++i) {
    const std::string record(1 + random.Below(300),
                             static_cast<char>('a' + random.Below(26)));
    appended.push_back(record);
    fixture.Append(record);
    fixture.loop_.RunFor(
        random.Between(absl::ZeroDuration(), absl::Milliseconds(2)));
    if (i == 0) fixture.files_.HaltAfter(1 + random.Below(40));
  }
  fixture.executor_->Kill();
  fixture.loop_.RunUntilIdle();
  for (const auto& answer : fixture.answers_) {
    if (answer.ok()) durable = std::max<size_t>(durable, *answer);
  }
  fixture.log_.reset();
  fixture.answers_.clear();
  fixture.files_.Crash(seed);
  return durable;
}

TEST(LogDamageTest, PowerFailuresLoseNothingAcknowledged) {
  size_t kept_unacknowledged = 0, lost = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    LogFixture fixture(seed);
    fixture.options_.segment_bytes = 1000;
    for (uint64_t life = 0; life < 4; ++life) {
      ASSERT_THAT(fixture.Open(), IsOk()) << "seed " << seed;
      std::vector<std::string> appended;
      const size_t durable = LoadAndCrash(fixture, seed * 100 + life, appended);
      ASSERT_THAT(fixture.Open(), IsOk()) << "seed " << seed;
      ASSERT_GE(fixture.replayed_.size(), durable) << "seed " << seed;
      ASSERT_LE(fixture.replayed_.size(), appended.size());
      ASSERT_TRUE(std::equal(fixture.replayed_.begin(), fixture.replayed_.end(),
                             appended.begin()))
          << "seed " << seed;
      kept_unacknowledged += fixture.replayed_.size() - durable;
      lost += appended.size() - fixture.replayed_.size();
    }
  }
  EXPECT_GT(kept_unacknowledged, 0u);
  EXPECT_GT(lost, 0u) << "the crashes hit nothing";
}

TEST(LogDamageTest, WhatAKilledProcessLeftIsDurableOnceReplayed) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    LogFixture fixture;
    ASSERT_THAT(fixture.Open(), IsOk());
    fixture.AppendAll({"one"});
    // Written, and the process dies in the sync.
    fixture.files_.HaltAfter(2);
    fixture.AppendAll({"two"});
    EXPECT_FALSE(fixture.answers_[1].ok());
    fixture.files_.KillProcess();
    ASSERT_THAT(fixture.Open(), IsOk());
    EXPECT_THAT(fixture.replayed_, ElementsAre("one", "two"));
    fixture.files_.Crash(seed);
    ASSERT_THAT(fixture.Open(), IsOk());
    EXPECT_THAT(fixture.replayed_, ElementsAre("one", "two")) << seed;
  }
}

}  // namespace
}  // namespace fedgraft
