#include "aggregator/web/run_archive.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/runtime/posix_file_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"
#include "tests/web/sample_report.h"

namespace fedgraft {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1764147600);

class RunArchiveTest : public ::testing::Test {
 protected:
  static std::string Report(const std::string& run, int64_t started_ms = 0) {
    nlohmann::json report = testing::SampleReport(3, 4);
    report["run"] = run;
    report["started_unix_ms"] = started_ms;
    return report.dump();
  }
  testing::TempFolder folder_;
  std::unique_ptr<PosixFileStore> files_ =
      *PosixFileStore::Open(folder_.path());
};

TEST_F(RunArchiveTest, KeepsReportsOverARestart) {
  {
    RunArchive archive(*files_);
    EXPECT_FALSE(archive.Has("r1"));
    ASSERT_EQ(archive.Keep(Report("r1", 1000), kNow), absl::OkStatus());
    ASSERT_EQ(archive.Keep(Report("r2", 2000), kNow), absl::OkStatus());
  }
  RunArchive archive(*files_);
  ASSERT_TRUE(archive.Has("r1"));
  EXPECT_EQ(*archive.Read("r1"), Report("r1", 1000));
  const auto all = archive.All();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].line.run, "r2");
  EXPECT_EQ(all[0].line.plan, "pneumonia-probe");
  EXPECT_EQ(all[0].line.rounds_complete, 4u);
  EXPECT_EQ(all[0].kept, kNow);
}

TEST_F(RunArchiveTest, WhatIsKeptStays) {
  RunArchive archive(*files_);
  ASSERT_EQ(archive.Keep(Report("r1", 1000), kNow), absl::OkStatus());
  EXPECT_EQ(archive.Keep(Report("r1", 9000), kNow), absl::OkStatus());
  EXPECT_EQ(*archive.Read("r1"), Report("r1", 1000));
}

TEST_F(RunArchiveTest, IdsThatAreNoFileNameAreRefused) {
  RunArchive archive(*files_);
  for (const char* run : {"", "../log", "a/b", "index", "A", "a.b"}) {
    EXPECT_EQ(archive.Keep(Report(run), kNow).code(),
              absl::StatusCode::kInvalidArgument)
        << run;
    EXPECT_EQ(archive.Read(run).status().code(), absl::StatusCode::kNotFound);
  }
  EXPECT_EQ(archive.Keep("no report", kNow).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(RunArchiveTest, ADamagedIndexCountsAsEmpty) {
  ASSERT_EQ(WriteAtomically(*files_, "reports/index.json", AsBytes("{oops")),
            absl::OkStatus());
  RunArchive archive(*files_);
  EXPECT_TRUE(archive.All().empty());
  EXPECT_EQ(archive.Keep(Report("r1"), kNow), absl::OkStatus());
  EXPECT_TRUE(RunArchive(*files_).Has("r1"));
}

TEST_F(RunArchiveTest, TheOldestBeyondTheLimitGo) {
  RunArchive archive(*files_);
  nlohmann::json report = testing::EmptyReport();
  for (size_t i = 0; i <= RunArchive::kRunsMax; ++i) {
    report["run"] = absl::StrCat("r", i);
    ASSERT_EQ(archive.Keep(report.dump(), kNow + absl::Seconds(i)),
              absl::OkStatus());
  }
  EXPECT_EQ(archive.All().size(), RunArchive::kRunsMax);
  EXPECT_FALSE(archive.Has("r0"));
  EXPECT_TRUE(archive.Has("r1"));
  EXPECT_EQ(files_->List("reports")->size(), RunArchive::kRunsMax + 1);
}

}  // namespace
}  // namespace fedgraft
