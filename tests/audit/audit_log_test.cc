#include "common/audit/audit_log.h"

#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/sim_file_store.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using testing::HasCode;
using testing::IsError;
using testing::IsOk;
using testing::SimFileStore;

const absl::Time kNow = absl::FromUnixMillis(1700000000123);

std::string TextOf(SimFileStore& files) {
  const auto bytes = ReadAll(files, "audit.log");
  return bytes.ok() ? std::string(AsText(*bytes)) : "";
}

void Write(SimFileStore& files, int lines) {
  auto log = AuditLog::Open(files, "audit.log", kNow);
  ASSERT_THAT(log, IsOk());
  for (int i = 0; i < lines; ++i) {
    ASSERT_THAT(
        (*log)->Append(kNow, "update",
                       {{"round", std::to_string(i)}, {"bytes", "1234"}}),
        IsOk());
  }
}

void Replace(SimFileStore& files, std::string_view text) {
  ASSERT_THAT(WriteAtomically(files, "audit.log", AsBytes(text)), IsOk());
}

TEST(AuditLogTest, LineHasIndexTimeEventFieldsAndTheHashBefore) {
  SimFileStore files;
  Write(files, 1);
  EXPECT_EQ(TextOf(files),
            "{\"index\":1,\"time\":\"2023-11-14T22:13:20.123Z\","
            "\"event\":\"update\",\"bytes\":\"1234\",\"round\":\"0\","
            "\"previous\":\"" +
                std::string(64, '0') + "\"}\n");
}

TEST(AuditLogTest, ChainGoesOnAfterReopening) {
  SimFileStore files;
  Write(files, 2);
  Write(files, 3);
  const auto head = VerifyAuditLog(TextOf(files));
  ASSERT_THAT(head, IsOk());
  EXPECT_EQ(head->lines, 5u);
}

TEST(AuditLogTest, EveryChangedByteIsFound) {
  SimFileStore files;
  Write(files, 3);
  const std::string text = TextOf(files);
  // The last line's own text is covered by the head only.
  const size_t last = text.rfind('\n', text.size() - 2) + 1;
  const auto head = VerifyAuditLog(text);
  for (size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] ^= 1;
    const auto result = VerifyAuditLog(changed);
    if (i < last) {
      EXPECT_THAT(result, HasCode(absl::StatusCode::kDataLoss)) << i;
    } else {
      EXPECT_TRUE(!result.ok() || *result != *head) << i;
    }
  }
}

TEST(AuditLogTest, RemovedMovedAndInsertedLinesAreFound) {
  SimFileStore files;
  Write(files, 4);
  const std::vector<std::string> lines =
      absl::StrSplit(TextOf(files), '\n', absl::SkipEmpty());
  const auto join = [&](std::vector<int> order) {
    std::string text;
    for (int i : order) text += lines[i] + "\n";
    return VerifyAuditLog(text);
  };
  EXPECT_THAT(join({0, 1, 2, 3}), IsOk());
  EXPECT_THAT(join({0, 2, 3}), IsError(absl::StatusCode::kDataLoss, "line 2"));
  EXPECT_THAT(join({1, 2, 3}), IsError(absl::StatusCode::kDataLoss, "line 1"));
  EXPECT_THAT(join({0, 2, 1, 3}),
              IsError(absl::StatusCode::kDataLoss, "line 2"));
  EXPECT_THAT(join({0, 1, 1, 2, 3}),
              IsError(absl::StatusCode::kDataLoss, "line 3"));
}

TEST(AuditLogTest, ACutEndShowsOnlyAgainstARememberedHead) {
  SimFileStore files;
  Write(files, 3);
  const std::string text = TextOf(files);
  const auto head = VerifyAuditLog(text);
  const auto cut =
      VerifyAuditLog(text.substr(0, text.rfind('\n', text.size() - 2) + 1));
  ASSERT_THAT(cut, IsOk());
  EXPECT_NE(*cut, *head);
}

TEST(AuditLogTest, TornTailIsRemovedAndTheRemovalRecorded) {
  SimFileStore files;
  Write(files, 2);
  const std::string text = TextOf(files);
  Replace(files, text + "{\"index\":3,\"ti");
  EXPECT_THAT(VerifyAuditLog(TextOf(files)),
              HasCode(absl::StatusCode::kDataLoss));
  Write(files, 1);
  const auto head = VerifyAuditLog(TextOf(files));
  ASSERT_THAT(head, IsOk());
  EXPECT_EQ(head->lines, 4u);
  EXPECT_THAT(TextOf(files), ::testing::HasSubstr("torn_tail_removed"));
}

TEST(AuditLogTest, AnEditedLogIsEvidenceAndNotContinued) {
  SimFileStore files;
  Write(files, 3);
  std::string text = TextOf(files);
  text[text.find("1234")] = '9';
  Replace(files, text);
  EXPECT_THAT(AuditLog::Open(files, "audit.log", kNow),
              IsError(absl::StatusCode::kDataLoss, "line 2"));
}

TEST(AuditLogTest, PowerFailureLosesNothingThatAppendReturned) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SimFileStore files;
    uint64_t written = 0;
    {
      auto log = AuditLog::Open(files, "audit.log", kNow);
      ASSERT_THAT(log, IsOk());
      for (uint64_t i = 0; i < seed % 5; ++i) {
        ASSERT_THAT((*log)->Append(kNow, "update", {}), IsOk());
        ++written;
      }
      files.FailSyncs(1);
      EXPECT_FALSE((*log)->Append(kNow, "lost", {}).ok());
      EXPECT_FALSE((*log)->Append(kNow, "after a failure", {}).ok());
    }
    files.Crash(seed);
    auto log = AuditLog::Open(files, "audit.log", kNow);
    ASSERT_THAT(log, IsOk()) << "seed " << seed;
    EXPECT_GE((*log)->head().lines, written) << "seed " << seed;
    EXPECT_THAT(VerifyAuditLog(TextOf(files)), IsOk()) << "seed " << seed;
  }
}

TEST(AuditLogTest, HostileTextInFieldsStaysOneLine) {
  SimFileStore files;
  auto log = AuditLog::Open(files, "audit.log", kNow);
  ASSERT_THAT(log, IsOk());
  ASSERT_THAT(
      (*log)->Append(kNow, "refused", {{"detail", "a\nb\"\xff{\"index\":9}"}}),
      IsOk());
  const auto head = VerifyAuditLog(TextOf(files));
  ASSERT_THAT(head, IsOk());
  EXPECT_EQ(head->lines, 1u);
}

}  // namespace
}  // namespace fedgraft
