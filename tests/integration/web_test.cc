#include <csignal>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "httplib.h"
#include "nlohmann/json.hpp"
#include "tests/integration/federation.h"

// The status page of a real daemon, and the report as a file.

namespace fedgraft::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// Where the status page listens; 0: nowhere.
int WebPort(const Federation& federation) {
  const std::string text =
      ReadFileOrEmpty(federation.Path("aggregator/listening"));
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    int port = 0;
    if (absl::ConsumePrefix(&line, "web 127.0.0.1:") &&
        absl::SimpleAtoi(line, &port)) {
      return port;
    }
  }
  return 0;
}

std::string Get(const Federation& federation, const std::string& path) {
  httplib::Client client("127.0.0.1", WebPort(federation));
  const auto got = client.Get(path);
  return got ? absl::StrCat(got->status, " ", got->body) : "no answer";
}

TEST(WebTest, IsOffUnlessConfigured) {
  Federation federation(0);
  ASSERT_TRUE(federation.StartAggregator()) << federation.Logs();
  EXPECT_EQ(WebPort(federation), 0);
}

TEST(WebTest, AnOpenAddressWithoutTlsIsRefused) {
  Federation federation(0);
  federation.ConfigureAggregator({"web: {listen: \"0.0.0.0:0\"}"});
  const CommandResult serve = federation.Aggregator(
      {"serve", "--config", federation.AggregatorConfig()});
  EXPECT_EQ(serve.exit_code, 2);
  EXPECT_THAT(serve.err, HasSubstr("web.token_file: is missing"));
}

TEST(WebTest, APortInUseIsToldBeforeTheDaemonIsReady) {
  Federation first(0), second(0);
  first.ConfigureAggregator({"web: {listen: \"127.0.0.1:0\"}"});
  ASSERT_TRUE(first.StartAggregator()) << first.Logs();
  second.ConfigureAggregator(
      {absl::StrCat("web: {listen: \"127.0.0.1:", WebPort(first), "\"}")});
  const CommandResult serve =
      second.Aggregator({"serve", "--config", second.AggregatorConfig()});
  EXPECT_EQ(serve.exit_code, 4);
  EXPECT_THAT(serve.err, HasSubstr("for the status page: the port is in use"));
}

TEST(WebTest, ShowsARunAndKeepsItAfterTheNextOneAndARestart) {
  Federation federation(3);
  federation.ConfigureAggregator({"web: {listen: \"127.0.0.1:0\"}"});
  ASSERT_TRUE(federation.StartAggregator()) << federation.Logs();
  EXPECT_THAT(Get(federation, "/"), HasSubstr("There has been no run yet"));
  EXPECT_EQ(Get(federation, "/healthz"), "200 ok\n");
  federation.StartSites();
  PlanText plan;
  plan.evaluation = "every: 1";
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(federation.WaitFinished()) << federation.Logs();
  const std::string first = federation.Status().run_id();
  const std::string kept =
      federation.Path(absl::StrCat("aggregator/reports/", first, ".json"));
  EXPECT_TRUE(WaitUntil([&] { return !ReadFileOrEmpty(kept).empty(); }));
  EXPECT_TRUE(WaitUntil([&] {
    return absl::StrContains(Get(federation, "/metrics"),
                             "state=\"finished\"} 1");
  }));
  EXPECT_THAT(Get(federation, "/metrics"),
              HasSubstr(absl::StrCat("fedgraft_site_updates_total{site=\"",
                                     federation.site(0), "\"} 3")));

  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  ASSERT_TRUE(federation.WaitFinished()) << federation.Logs();
  const std::string second = federation.Status().run_id();
  ASSERT_NE(first, second);
  federation.KillAggregator();
  ASSERT_TRUE(federation.StartAggregator()) << federation.Logs();
  for (const std::string& run : {first, second}) {
    EXPECT_THAT(Get(federation, "/"), HasSubstr("/runs/" + run));
    EXPECT_THAT(Get(federation, "/runs/" + run), StartsWith("200 <!DOCTYPE"));
  }
  EXPECT_THAT(Get(federation, "/runs/none"), StartsWith("404"));
}

TEST(WebTest, ReportIsWrittenAsOnePage) {
  Federation federation(3);
  ASSERT_TRUE(federation.StartAggregator()) << federation.Logs();
  federation.StartSites();
  ASSERT_EQ(federation.RunStart(PlanText()).exit_code, 0);
  ASSERT_TRUE(federation.WaitFinished()) << federation.Logs();
  const std::string file = federation.Path("report.html");
  const CommandResult report = federation.Aggregator(
      {"report", "--config", federation.AggregatorConfig(), "--html", file});
  EXPECT_EQ(report.exit_code, 0) << report.err;
  EXPECT_THAT(report.out, HasSubstr(file));
  const std::string page = ReadFileOrEmpty(file);
  EXPECT_THAT(page, StartsWith("<!DOCTYPE html>"));
  EXPECT_THAT(page, HasSubstr("3 of 3"));
  EXPECT_THAT(page, Not(HasSubstr("All runs")));
}

// Readers in numbers do not slow or stop a run.
TEST(WebTest, ARunEndsWhileManyRead) {
  Federation federation(3);
  federation.ConfigureAggregator({"web: {listen: \"127.0.0.1:0\"}"});
  ASSERT_TRUE(federation.StartAggregator()) << federation.Logs();
  federation.StartSites();
  PlanText plan;
  plan.rounds = 10;
  ASSERT_EQ(federation.RunStart(plan).exit_code, 0);
  int answers = 0;
  EXPECT_TRUE(federation.WaitFor(
      [&](const pb::StatusReply& status) {
        answers += absl::StartsWith(Get(federation, "/"), "200") ? 1 : 0;
        return status.state() == "finished";
      },
      absl::Seconds(60)));
  EXPECT_GT(answers, 0);
  federation.aggregator()->Signal(SIGTERM);
  EXPECT_EQ(federation.aggregator()->WaitExit(absl::Seconds(5)), 0);
}

}  // namespace
}  // namespace fedgraft::testing
