#include "client/secagg/durable_record.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/sim_file_store.h"

namespace fedgraft::testing {
namespace {

constexpr char kPath[] = "secagg/record";

Bytes Numbered(int number) {
  const std::string text = "record " + std::to_string(number);
  Bytes content(static_cast<size_t>(100 + 7 * number), 'x');
  std::copy(text.begin(), text.end(), content.begin());
  return content;
}

Bytes ContentOf(SimFileStore& files) {
  const auto record = DurableRecord::Open(files, kPath);
  EXPECT_TRUE(record.ok()) << record.status();
  if (!record.ok()) return {};
  return Bytes(record->content().begin(), record->content().end());
}

TEST(DurableRecordTest, IsEmptyBeforeTheFirstWriteAndThenTheNewest) {
  SimFileStore files;
  auto record = DurableRecord::Open(files, kPath);
  ASSERT_TRUE(record.ok());
  EXPECT_TRUE(record->content().empty());
  for (const int number : {1, 2, 3, 700, 4}) {
    ASSERT_TRUE(record->Write(Numbered(number)).ok());
    EXPECT_EQ(ContentOf(files), Numbered(number));
  }
}

TEST(DurableRecordTest, AFileKeepsItsSizeWhileItFits) {
  SimFileStore files;
  auto record = DurableRecord::Open(files, kPath);
  for (int number = 0; number < 4; ++number) {
    ASSERT_TRUE(record->Write(Numbered(number)).ok());
  }
  EXPECT_EQ(files.Content("secagg/record.0").size(), 4096u);
  EXPECT_EQ(files.Content("secagg/record.1").size(), 4096u);
}

// The power fails after each operation in turn, also in the first Write.
TEST(DurableRecordTest, APowerFailureLeavesTheNewestOrTheOneUnderWay) {
  int halted = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    for (uint64_t operations = 1; operations < 17; ++operations) {
      SimFileStore files;
      files.HaltAfter(operations);
      int written = 0;
      bool failed = false;
      if (auto record = DurableRecord::Open(files, kPath); record.ok()) {
        while (written < 5 && !failed) {
          failed = !record->Write(Numbered(written + 1)).ok();
          if (!failed) ++written;
        }
      }
      files.Crash(seed);
      const Bytes before = written == 0 ? Bytes() : Numbered(written);
      const Bytes content = ContentOf(files);
      EXPECT_TRUE(content == before ||
                  (failed && content == Numbered(written + 1)))
          << "seed " << seed << ", operation " << operations;
      halted += failed ? 1 : 0;
      // And it goes on from there, through another failure.
      auto record = DurableRecord::Open(files, kPath);
      ASSERT_TRUE(record->Write(Numbered(50)).ok());
      files.Crash(seed + 1);
      EXPECT_EQ(ContentOf(files), Numbered(50));
    }
  }
  EXPECT_GT(halted, 200);
}

// A process that dies between making a file and syncing its name.
TEST(DurableRecordTest, ADeadProcessLeavesNoNameThatAPowerFailureTakes) {
  for (uint64_t operations = 1; operations < 9; ++operations) {
    SimFileStore files;
    files.HaltAfter(operations);
    if (auto record = DurableRecord::Open(files, kPath); record.ok()) {
      (void)record->Write(Numbered(1));
    }
    files.KillProcess();
    auto record = DurableRecord::Open(files, kPath);
    ASSERT_TRUE(record.ok()) << record.status();
    ASSERT_TRUE(record->Write(Numbered(2)).ok());
    ASSERT_TRUE(record->Write(Numbered(3)).ok());
    files.Crash(7);
    EXPECT_EQ(ContentOf(files), Numbered(3)) << operations;
  }
}

TEST(DurableRecordTest, AFailedWriteIsWrittenAgainInItsPlace) {
  SimFileStore files;
  auto record = DurableRecord::Open(files, kPath);
  ASSERT_TRUE(record->Write(Numbered(1)).ok());
  files.FailSyncs(1);
  EXPECT_FALSE(record->Write(Numbered(2)).ok());
  EXPECT_EQ(Bytes(record->content().begin(), record->content().end()),
            Numbered(1));
  ASSERT_TRUE(record->Write(Numbered(3)).ok());
  EXPECT_EQ(ContentOf(files), Numbered(3));
}

TEST(DurableRecordTest, DamageOfBothFilesIsFoundAndRemoveBeginsAnew) {
  SimFileStore files;
  auto record = DurableRecord::Open(files, kPath);
  ASSERT_TRUE(record->Write(Numbered(1)).ok());
  ASSERT_TRUE(record->Write(Numbered(2)).ok());
  for (const std::string slot : {"secagg/record.0", "secagg/record.1"}) {
    Bytes content = files.Content(slot);
    content[60] ^= 1;
    files.SetContent(slot, content);
  }
  EXPECT_EQ(DurableRecord::Open(files, kPath).status().code(),
            absl::StatusCode::kDataLoss);
  ASSERT_TRUE(DurableRecord::Remove(files, kPath).ok());
  EXPECT_TRUE(ContentOf(files).empty());
}

}  // namespace
}  // namespace fedgraft::testing
