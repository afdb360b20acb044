#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "aggregator/web/metrics_text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/web/sample_report.h"

namespace fedgraft {
namespace {

using testing::EmptyReport;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using testing::SampleReport;

constexpr int64_t kNow = 1764147605000;

TEST(MetricsTest, EveryMetricHasHelpAndTypeOnceAndSamplesBelow) {
  std::set<std::string> seen;
  std::string current;
  const std::string text = MetricsText(SampleReport(4, 40), kNow);
  EXPECT_EQ(text.back(), '\n');
  for (const absl::string_view line :
       absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    if (words[0] == "#" && words[1] == "HELP") {
      EXPECT_TRUE(seen.insert(words[2]).second) << words[2];
    } else if (words[0] == "#") {
      EXPECT_EQ(words[1], "TYPE");
      current = words[2];
      EXPECT_EQ(words[3] == "counter", absl::EndsWith(current, "_total"));
      EXPECT_EQ(seen.count(current), 1u);
    } else {
      EXPECT_EQ(words[0].substr(0, words[0].find('{')), current);
      EXPECT_THAT(std::string(line),
                  MatchesRegex("fedgraft_[a-z_]+(\\{.*\\})? [-+0-9.e]+"));
    }
  }
  EXPECT_GT(seen.size(), 20u);
}

TEST(MetricsTest, TellsRoundSitesAndShift) {
  const std::string text = MetricsText(SampleReport(4, 40), kNow);
  for (const char* sample :
       {"\nfedgraft_round 40\n",
        "\nfedgraft_site_connected{site=\"west-clinic\"} 0\n",
        "\nfedgraft_site_last_seen_seconds{site=\"north-hospital\"} 5\n",
        "\nfedgraft_site_updates_total{site=\"north-hospital\"} 40\n",
        "\nfedgraft_site_refusals_total{site=\"east-clinic\"} 2\n",
        "\nfedgraft_shift_alarm{site=\"north-hospital\",test=\"covariate_mmd\"}"
        " 1\n",
        "\nfedgraft_shift_alarm{site=\"east-clinic\",test=\"covariate_mmd\"} "
        "0\n",
        "\nfedgraft_shift_site_differs{site=\"east-clinic\",kind=\"label\"} "
        "1\n",
        "\nfedgraft_transfer_harms{site=\"south-hospital\"} 1\n"}) {
    EXPECT_THAT(text, HasSubstr(sample));
  }
}

TEST(MetricsTest, WhatNobodyToldHasNoSample) {
  const std::string text = MetricsText(EmptyReport(), kNow);
  EXPECT_THAT(text, HasSubstr("fedgraft_round 0\n"));
  for (const char* absent : {"auc", "shift", "site_", " nan", " inf"}) {
    EXPECT_THAT(text, Not(HasSubstr(absent))) << absent;
  }
  EXPECT_EQ(MetricsText(nlohmann::json::object(), kNow), "");
}

TEST(MetricsTest, LabelsAreEscaped) {
  nlohmann::json report = EmptyReport();
  report["plan"] = "a\"b\\c\nd";
  EXPECT_THAT(MetricsText(report, kNow), HasSubstr("plan=\"a\\\"b\\\\c\\nd\""));
}

}  // namespace
}  // namespace fedgraft
