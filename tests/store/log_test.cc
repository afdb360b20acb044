#include "aggregator/store/log.h"

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

TEST(LogTest, ReplaysWhatWasAppendedInOrder) {
  LogFixture fixture;
  ASSERT_THAT(fixture.Open(), IsOk());
  EXPECT_TRUE(fixture.replayed_.empty());
  fixture.AppendAll({"one", "two"});
  ASSERT_THAT(fixture.Open(), IsOk());
  EXPECT_EQ(fixture.log_->next_sequence(), 3u);
  fixture.AppendAll({"three"});
  EXPECT_EQ(*fixture.answers_[2], 3u);
  ASSERT_THAT(fixture.Open(), IsOk());
  EXPECT_THAT(fixture.replayed_, ElementsAre("one", "two", "three"));
}

TEST(LogTest, ErrorOfTheReplayIsPassedOn) {
  LogFixture fixture;
  ASSERT_THAT(fixture.Open(), IsOk());
  fixture.AppendAll({"one", "two"});
  int calls = 0;
  const auto log = Log::Open(
      {fixture.files_, *fixture.strand_, *fixture.executor_, fixture.random_},
      fixture.options_, [&calls](uint64_t, ByteSpan) {
        ++calls;
        return absl::InvalidArgumentError("unknown record");
      });
  EXPECT_THAT(log, IsError(absl::StatusCode::kInvalidArgument, "unknown"));
  EXPECT_EQ(calls, 1);
}

TEST(LogTest, ExpectedRecordsShareOneSync) {
  LogFixture fixture;
  ASSERT_THAT(fixture.Open(), IsOk());
  const uint64_t syncs = fixture.files_.syncs();
  fixture.log_->Expect();
  fixture.log_->Expect();
  fixture.Append("one");
  fixture.log_->Settle();
  fixture.loop_.RunUntilIdle();
  EXPECT_TRUE(fixture.order_.empty()) << "the other is still expected";
  fixture.Append("two");
  fixture.log_->Settle();
  fixture.loop_.RunUntilIdle();
  EXPECT_THAT(fixture.order_, ElementsAre(0, 1));
  EXPECT_EQ(fixture.files_.syncs() - syncs, 1u);
}

TEST(LogTest, NoRecordWaitsForOneThatIsExpectedLater) {
  LogFixture fixture;
  ASSERT_THAT(fixture.Open(), IsOk());
  fixture.log_->Expect();
  fixture.Append("one");
  fixture.log_->Expect();
  fixture.log_->Settle();  // the first does not come
  fixture.loop_.RunUntilIdle();
  EXPECT_THAT(fixture.order_, ElementsAre(0));
}

TEST(LogTest, NoRecordWaitsForManyExpectedOnes) {
  LogFixture fixture;
  ASSERT_THAT(fixture.Open(), IsOk());
  for (int i = 0; i < 100; ++i) fixture.log_->Expect();
  fixture.Append("one");
  for (uint64_t i = 0; i < Log::kExpectedMax; ++i) {
    fixture.loop_.RunUntilIdle();
    EXPECT_TRUE(fixture.order_.empty()) << i;
    fixture.log_->Settle();
  }
  fixture.loop_.RunUntilIdle();
  EXPECT_THAT(fixture.order_, ElementsAre(0));
}

TEST(LogTest, RecordsThatWaitShareOneSync) {
  LogFixture fixture;
  ASSERT_THAT(fixture.Open(), IsOk());
  const uint64_t syncs = fixture.files_.syncs();
  for (int i = 0; i < 100; ++i) fixture.Append(absl::StrCat("record ", i));
  EXPECT_TRUE(fixture.order_.empty()) << "never answered inside Append";
  fixture.loop_.RunUntilIdle();
  // The first goes at once, all others while it is being written.
  EXPECT_EQ(fixture.files_.syncs() - syncs, 2u);
  ASSERT_EQ(fixture.order_.size(), 100u);
  for (size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(fixture.order_[i], i);
    EXPECT_EQ(*fixture.answers_[i], i + 1);
  }
}

TEST(LogTest, BatchesAreLimitedInSize) {
  LogFixture fixture;
  fixture.options_.batch_bytes = 100;
  ASSERT_THAT(fixture.Open(), IsOk());
  const uint64_t syncs = fixture.files_.syncs();
  for (int i = 0; i < 10; ++i) fixture.Append(std::string(60, 'x'));
  fixture.loop_.RunUntilIdle();
  EXPECT_EQ(fixture.order_.size(), 10u);
  EXPECT_EQ(fixture.files_.syncs() - syncs, 6u);  // 1, then pairs
}

TEST(LogTest, AnswersMayAppend) {
  LogFixture fixture;
  ASSERT_THAT(fixture.Open(), IsOk());
  int left = 20;
  std::function<void(absl::StatusOr<uint64_t>)> again =
      [&](absl::StatusOr<uint64_t> sequence) {
        ASSERT_THAT(sequence, IsOk());
        if (--left > 0) fixture.log_->Append(Bytes{'x'}, again);
      };
  fixture.log_->Append(Bytes{'x'}, again);
  fixture.loop_.RunUntilIdle();
  EXPECT_EQ(left, 0);
  EXPECT_EQ(fixture.log_->next_sequence(), 21u);
}

TEST(LogTest, AnswerMayDestroyTheLog) {
  LogFixture fixture;
  ASSERT_THAT(fixture.Open(), IsOk());
  fixture.log_->Append(Bytes{'x'},
                       [&](absl::StatusOr<uint64_t>) { fixture.log_.reset(); });
  fixture.log_->Append(Bytes{'y'}, [](absl::StatusOr<uint64_t>) {
    FAIL() << "the log is gone";
  });
  fixture.loop_.RunUntilIdle();
  EXPECT_EQ(fixture.log_, nullptr);
}

TEST(LogTest, BeginsNewSegmentsAtTheLimit) {
  LogFixture fixture;
  fixture.options_.segment_bytes = 200;
  ASSERT_THAT(fixture.Open(), IsOk());
  std::vector<std::string> records;
  for (int i = 0; i < 20; ++i) records.push_back(std::string(50, 'a' + i));
  fixture.AppendAll(records);
  const auto segments = *fixture.files_.List("log");
  EXPECT_EQ(segments.size(), 7u);  // 36 + 3 · 78 bytes each
  EXPECT_EQ(segments.front(), "log-00000001");
  ASSERT_THAT(fixture.Open(), IsOk());
  EXPECT_EQ(fixture.replayed_, records);
}

TEST(LogTest, RefusesRecordsOfImpossibleSizeAndGoesOn) {
  LogFixture fixture;
  fixture.options_.record_bytes_max = 10;
  ASSERT_THAT(fixture.Open(), IsOk());
  fixture.Append("");
  fixture.Append(std::string(11, 'x'));
  fixture.Append(std::string(10, 'x'));
  EXPECT_TRUE(fixture.order_.empty());
  fixture.loop_.RunUntilIdle();
  const auto refused = HasCode(absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(fixture.answers_[0], refused);
  EXPECT_THAT(fixture.answers_[1], refused);
  EXPECT_EQ(*fixture.answers_[2], 1u);
  EXPECT_THAT(fixture.log_->failure(), IsOk());
}

TEST(LogTest, FullDiskFailsTheLogUntilItIsOpenedAgain) {
  LogFixture fixture;
  ASSERT_THAT(fixture.Open(), IsOk());
  fixture.AppendAll({"one"});
  fixture.files_.FailAppends(1);
  fixture.Append("two");
  fixture.Append("three");  // waits while "two" fails
  fixture.loop_.RunUntilIdle();
  fixture.Append("four");  // the disk would take it
  fixture.loop_.RunUntilIdle();
  const auto full = HasCode(absl::StatusCode::kResourceExhausted);
  for (size_t i = 1; i <= 3; ++i) EXPECT_THAT(fixture.answers_[i], full);
  EXPECT_THAT(fixture.log_->failure(), full);
  EXPECT_EQ(fixture.order_, (std::vector<size_t>{0, 1, 2, 3}));

  ASSERT_THAT(fixture.Open(), IsOk());
  EXPECT_THAT(fixture.replayed_, ElementsAre("one"));
  fixture.AppendAll({"five"});
  EXPECT_EQ(*fixture.answers_[4], 2u);
}

TEST(LogTest, FailedSyncIsNotAcknowledged) {
  LogFixture fixture;
  ASSERT_THAT(fixture.Open(), IsOk());
  fixture.files_.FailSyncs(1);
  fixture.AppendAll({"one", "two"});
  EXPECT_FALSE(fixture.answers_[0].ok());
  EXPECT_FALSE(fixture.answers_[1].ok());
}

TEST(LogTest, RefusesAnotherVersionAndLeavesItAlone) {
  LogFixture fixture;
  ASSERT_THAT(fixture.Open(), IsOk());
  fixture.AppendAll({"one"});
  // A header of version 2 with a fitting checksum (computed by an independent
  // CRC-32C): only the version differs.
  const Bytes of_future = *FromHex(
      "46474c4f47000d0a"
      "02000000"
      "00000000"
      "0100000000000000"
      "0100000000000000"
      "8bff18d0");
  fixture.files_.SetContent("log/log-00000001", of_future);
  EXPECT_THAT(fixture.Open(), IsError(absl::StatusCode::kUnimplemented,
                                      "log/log-00000001: it has format "
                                      "version 2"));
  EXPECT_EQ(fixture.files_.Content("log/log-00000001"), of_future);
}

TEST(LogTest, IgnoresFilesOfOtherNames) {
  LogFixture fixture;
  ASSERT_THAT(fixture.Open(), IsOk());
  fixture.AppendAll({"one"});
  for (const char* name : {"log-1", "log-00000002.bak", "log-", "notes"}) {
    fixture.files_.SetContent(absl::StrCat("log/", name), Bytes{1, 2, 3});
  }
  ASSERT_THAT(fixture.Open(), IsOk());
  EXPECT_THAT(fixture.replayed_, ElementsAre("one"));
}

TEST(LogFormatTest, SegmentNamesSurviveAndOthersAreRefused) {
  for (const uint64_t number : {1ull, 12ull, 99999999ull, 123456789ull}) {
    EXPECT_EQ(SegmentNumber(SegmentName(number)), number);
  }
  for (const char* name : {"log-1", "log-0000001a", "log--0000001", "x"}) {
    EXPECT_EQ(SegmentNumber(name), std::nullopt) << name;
  }
}

}  // namespace
}  // namespace fedgraft
