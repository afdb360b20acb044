#include <algorithm>

#include "client/agent/agent_state.h"
#include "client/agent/audit_file.h"
#include "client/agent/background.h"
#include "client/agent/backoff.h"
#include "client/agent/callback_guard.h"
#include "client/agent/retry.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/sim_file_store.h"
#include "tests/support/sim_random.h"
#include "tests/support/sim_runtime.h"

namespace fedgraft::testing {
namespace {

using ::testing::HasSubstr;

TEST(BackoffTest, DrawsFromTheUpperHalfOfADoublingCeiling) {
  SimRandom random(3);
  Backoff backoff(random, {absl::Seconds(1), absl::Seconds(8)});
  for (int round = 0; round < 50; ++round) {
    for (double ceiling : {1.0, 2.0, 4.0, 8.0, 8.0, 8.0}) {
      const double delay = absl::ToDoubleSeconds(backoff.Next());
      EXPECT_GE(delay, ceiling / 2);
      EXPECT_LE(delay, ceiling);
    }
    backoff.Reset();
  }
}

TEST(BackoffTest, TwoSitesDoNotComeBackTogether) {
  SimRandom one(1), two(2);
  Backoff first(one, {}), second(two, {});
  EXPECT_NE(first.Next(), second.Next());
}

TEST(RunFilesTest, TakesOnlyNamesThatCannotLeaveTheirFolder) {
  for (const char* name : {"run-1", "20261123T061134_a", "A.b", "7"}) {
    EXPECT_TRUE(RunFiles::Create(RunId{name}).ok()) << name;
  }
  const std::string too_long(65, 'a');
  for (const std::string& name :
       {std::string(), std::string(".."), std::string("../x"),
        std::string("a/b"), std::string(".hidden"), std::string("-x"),
        std::string("a b"), std::string("a\0b", 3), std::string("\xc3\xa4"),
        too_long}) {
    EXPECT_EQ(RunFiles::Create(RunId{name}).status().code(),
              absl::StatusCode::kInvalidArgument)
        << name;
  }
}

TEST(FinishedRunTest, IsReadAsItWasWritten) {
  SimFileStore files;
  FinishedRun finished;
  finished.run = RunId{"run-1"};
  finished.model.bytes.fill(9);
  finished.rounds = 12;
  finished.stopped = true;
  ASSERT_TRUE(WriteFinishedRun(files, finished).ok());
  files.Crash(1);
  const auto read = ReadFinishedRun(files, finished.run);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, finished);
  EXPECT_EQ(ReadFinishedRun(files, RunId{"run-2"}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(FinishedRunTest, ADamagedMarkerIsNoMarker) {
  SimFileStore files;
  for (const char* text :
       {"", "{", "[]", "{}", "{\"run\": \"other\"}",
        "{\"run\":\"run-1\",\"model_sha256\":\"ab\",\"rounds\":1,"
        "\"stopped\":false}",
        "{\"run\":\"run-1\",\"model_sha256\":7,\"rounds\":-1,"
        "\"stopped\":1}"}) {
    files.SetContent("runs/run-1/finished.json", ToBytes(AsBytes(text)));
    const auto read = ReadFinishedRun(files, RunId{"run-1"});
    EXPECT_EQ(read.status().code(), absl::StatusCode::kDataLoss) << text;
    EXPECT_THAT(std::string(read.status().message()),
                HasSubstr("runs/run-1/finished.json"));
  }
}

TEST(AuditFileTest, ChainsWhatIsRecordedAndGoesOnAfterAFullDisk) {
  EventLoop loop;
  SimClock clock(&loop);
  SimFileStore files;
  auto audit = AuditFile::Open(files, clock);
  ASSERT_TRUE(audit.ok()) << audit.status();
  AuditEvent event;
  event.event = "update";
  event.run = RunId{"run-1"};
  event.round = RoundId{3};
  event.bytes = 1234;
  event.digest.bytes.fill(0xab);
  event.detail = "train";
  ASSERT_TRUE((*audit)->Record(event).ok());
  files.FailAppends(1);
  EXPECT_EQ((*audit)->Record(event).code(),
            absl::StatusCode::kResourceExhausted);
  ASSERT_TRUE((*audit)->Record(event).ok());
  files.Crash(1);

  const Bytes content = files.Content(kAuditPath);
  const std::string text(AsText(content));
  const auto head = VerifyAuditLog(text);
  ASSERT_TRUE(head.ok()) << head.status();
  EXPECT_GE(head->lines, 2u);
  for (const char* part : {"\"event\":\"update\"", "run-1", "1234", "abababab",
                           "\"train\"", "\"3\""}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST(RetryTest, OnlyWhatMayPassIsTriedAgain) {
  EXPECT_TRUE(IsRetryable(absl::UnavailableError("")));
  EXPECT_TRUE(IsRetryable(absl::DeadlineExceededError("")));
  EXPECT_TRUE(IsRetryable(RefusalError(RefusalReason::kStorage, "")));
  EXPECT_FALSE(IsRetryable(RefusalError(RefusalReason::kWrongRound, "")));
  EXPECT_FALSE(IsRetryable(absl::PermissionDeniedError("")));
  EXPECT_FALSE(IsRetryable(absl::ResourceExhaustedError("")));
  EXPECT_FALSE(IsRetryable(absl::OkStatus()));
}

TEST(CallbackGuardTest, CallbacksOfBeforeDoNothing) {
  int calls = 0;
  auto guard = std::make_unique<CallbackGuard>();
  auto first = (*guard)([&] { ++calls; });
  first();
  guard->Invalidate();
  first();
  auto second = (*guard)([&](int by) { calls += by; });
  second(10);
  guard.reset();
  second(10);
  EXPECT_EQ(calls, 11);
}

TEST(BackgroundTest, IsIdleOnlyAfterTheLastResultCameBack) {
  EventLoop loop;
  SimScheduler strand(&loop);
  SimExecutor executor(&loop, 1);
  Background background(executor, strand);
  std::vector<int> results;
  for (int i = 0; i < 3; ++i) {
    background.Run([i] { return i; }, [&](int r) { results.push_back(r); });
  }
  bool idle = false;
  background.WhenIdle([&] {
    idle = true;
    EXPECT_EQ(results.size(), 3u);
  });
  EXPECT_FALSE(idle);
  ASSERT_TRUE(loop.RunUntilIdle());
  EXPECT_TRUE(idle);
  std::sort(results.begin(), results.end());
  EXPECT_EQ(results, (std::vector<int>{0, 1, 2}));
}

}  // namespace
}  // namespace fedgraft::testing
