#include "aggregator/web/status_page.h"

#include <memory>
#include <string>

#include "aggregator/web/report_json.h"
#include "common/runtime/posix_file_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class HandClock : public Clock {
 public:
  absl::Time Monotonic() const override { return now_; }
  absl::Time Wall() const override { return now_; }
  void Pass(absl::Duration duration) { now_ += duration; }

 private:
  absl::Time now_ = absl::FromUnixSeconds(1764147600);
};

pb::StatusReply Running() {
  pb::StatusReply status;
  status.set_federation("lungs");
  status.set_run_id("live1");
  status.set_plan_name("probe");
  status.set_state("training");
  return status;
}

class StatusPageTest : public ::testing::Test {
 protected:
  StatusPageTest() {
    pb::StatusReply old = Running();
    old.set_run_id("old1");
    old.set_plan_name("earlier");
    old.set_state("finished");
    EXPECT_EQ(archive_.Keep(ReportJson(old), clock_.Wall()), absl::OkStatus());
  }

  testing::TempFolder folder_;
  std::unique_ptr<PosixFileStore> files_ =
      *PosixFileStore::Open(folder_.path());
  RunArchive archive_{*files_};
  HandClock clock_;
  absl::StatusOr<pb::StatusReply> status_ = Running();
  int asked_ = 0;
  StatusPage page_{"lungs",
                   [this] {
                     ++asked_;
                     return status_;
                   },
                   archive_, clock_};
};

TEST_F(StatusPageTest, ListsTheRunUnderWayAndThoseKept) {
  const WebReply reply = page_.Answer({"/", ""});
  EXPECT_EQ(reply.status, 200);
  EXPECT_THAT(reply.body, HasSubstr("/runs/live1"));
  EXPECT_THAT(reply.body, HasSubstr("/runs/old1"));
}

TEST_F(StatusPageTest, ShowsARunOfEitherKind) {
  EXPECT_THAT(page_.Answer({"/runs/live1", ""}).body, HasSubstr("<h1>probe"));
  EXPECT_THAT(page_.Answer({"/runs/live1", "10"}).body,
              HasSubstr("http-equiv=refresh content=10"));
  EXPECT_THAT(page_.Answer({"/runs/old1", "10"}).body,
              ::testing::AllOf(HasSubstr("<h1>earlier"),
                               Not(HasSubstr("http-equiv=refresh"))));
}

TEST_F(StatusPageTest, RefreshTakesSensibleTimesOnly) {
  for (const char* refresh : {"0", "1", "-5", "x", "99999", "10;url=x"}) {
    EXPECT_THAT(page_.Answer({"/runs/live1", refresh}).body,
                Not(HasSubstr("http-equiv=refresh")))
        << refresh;
  }
}

TEST_F(StatusPageTest, EverythingElseIsNotFound) {
  for (const char* path :
       {"/runs/", "/runs/none", "/runs/../log", "/index.html", "", "//",
        "/metrics/", "/runs/old1/x", "/reports/old1.json"}) {
    EXPECT_EQ(page_.Answer({path, ""}).status, 404) << path;
  }
}

TEST_F(StatusPageTest, ServesMetricsAndHealth) {
  const WebReply metrics = page_.Answer({"/metrics", ""});
  EXPECT_EQ(metrics.status, 200);
  EXPECT_THAT(metrics.content_type, HasSubstr("version=0.0.4"));
  EXPECT_THAT(metrics.body, HasSubstr("state=\"training\"} 1\n"));
  EXPECT_EQ(page_.Answer({"/healthz", ""}).body, "ok\n");
}

TEST_F(StatusPageTest, ManyReadersAskTheAggregatorOnceASecond) {
  for (int i = 0; i < 20; ++i) page_.Answer({"/", ""});
  EXPECT_EQ(asked_, 1);
  clock_.Pass(StatusPage::kAgeMax);
  page_.Answer({"/metrics", ""});
  EXPECT_EQ(asked_, 2);
}

TEST_F(StatusPageTest, AnAggregatorThatDoesNotAnswerIsUnavailable) {
  status_ = absl::UnavailableError("no answer within 5s");
  for (const char* path : {"/", "/runs/live1", "/metrics", "/healthz"}) {
    const WebReply reply = page_.Answer({path, ""});
    EXPECT_EQ(reply.status, 503) << path;
    EXPECT_THAT(reply.body, HasSubstr("no answer within 5s"));
  }
}

TEST_F(StatusPageTest, WithoutARunThereIsAPageToo) {
  status_ = pb::StatusReply();
  EXPECT_EQ(page_.Answer({"/", ""}).status, 200);
  EXPECT_EQ(page_.Answer({"/metrics", ""}).status, 200);
  EXPECT_EQ(page_.Answer({"/runs/", ""}).status, 404);
}

}  // namespace
}  // namespace fedgraft
