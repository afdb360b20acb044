#include <cstdint>
#include <fstream>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/integration/federation.h"

// Looks at shift and the remedies that follow, with real trainers on tables.

namespace fedgraft::testing {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Three sites with many records, then two small ones, whose records nearly all
// have the finding: they differ in that from the others, who hardly notice. The
// last one tells nobody what its tests find.
constexpr int kLarge = 3, kShifted = 3, kSilent = 4, kSites = 5;

struct SiteRecords {
  int count = 0;
  int positives_in_ten = 0;
};

SiteRecords RecordsOf(int site) {
  return site < kLarge ? SiteRecords{1000, 4} : SiteRecords{60, 9};
}

// Four normal numbers, of which the finding moves the first two.
void WriteTable(const std::string& path, int site) {
  std::mt19937_64 random(100 + site);
  std::normal_distribution<double> normal;
  const SiteRecords records = RecordsOf(site);
  std::ofstream file(path);
  file << "a,b,c,d,label,split\n";
  for (const char* split : {"train", "val", "test"}) {
    const int count = split == std::string("train") ? records.count : 10;
    for (int i = 0; i < count; ++i) {
      const int label = i % 10 < records.positives_in_ten ? 1 : 0;
      for (int k = 0; k < 4; ++k) {
        file << normal(random) + (k < 2 ? 1.2 * label : 0) << ",";
      }
      file << label << "," << split << "\n";
    }
  }
}

class RemedyTest : public ::testing::Test {
 protected:
  RemedyTest() : federation_(kSites) {
    for (int i = 0; i < kSites; ++i) {
      WriteTable(federation_.SitePath(i, "cases.csv"), i);
      federation_.ConfigureSite(
          i,
          {absl::StrCat("aggregator: 127.0.0.1:", federation_.proxy().port()),
           absl::StrCat("trainer: {binary: ", BuiltProgram("fedgraft-trainer"),
                        "}"),
           "compute: {device: cpu, threads: 1}",
           absl::StrCat("policy: {cohort_min: 3, rounds_max: 100000, "
                        "share_site_scalars: ",
                        i == kSilent ? "false" : "true", "}"),
           "data: {kind: table, path: cases.csv, split_column: split, table: "
           "{numeric: [a, b, c, d]}}"});
    }
  }

  // Entries of the site's audit log about remedies.
  std::vector<std::string> RemediesIn(int site) const {
    std::vector<std::string> details;
    std::istringstream log(
        ReadFileOrEmpty(federation_.SitePath(site, "state/audit.log")));
    for (std::string line; std::getline(log, line);) {
      const json entry = json::parse(line, nullptr, false);
      if (entry.is_discarded() || entry.value("event", "") != "remedy")
        continue;
      details.push_back(entry.value("detail", ""));
    }
    return details;
  }
  // How often the aggregator, in all of its lives, chose something for a site.
  int CountChoices(int site) const {
    int count = 0;
    std::istringstream log(federation_.AggregatorLog());
    const std::string chosen =
        absl::StrCat(": site ", federation_.site(site), ": ");
    for (std::string line; std::getline(log, line);) {
      count += absl::StrContains(line, " look at round ") &&
               absl::StrContains(line, chosen);
    }
    return count;
  }
  std::map<std::string, json> Triage() {
    std::map<std::string, json> by_site;
    const json report =
        json::parse(federation_.Status(true).shift_report(), nullptr, false);
    if (report.is_discarded()) return by_site;
    for (const json& triage : report.at("triage")) {
      by_site[triage.at("site")] = triage;
    }
    return by_site;
  }
  // What the report says once the choice was made.
  void ExpectReport() {
    const std::map<std::string, json> triage = Triage();
    ASSERT_TRUE(triage.contains(federation_.site(kShifted)));
    EXPECT_FALSE(triage.contains(federation_.site(kSilent)));
    for (const auto& [site, of_site] : triage) {
      const bool is_shifted = site == federation_.site(kShifted);
      EXPECT_EQ(of_site.at("kinds"),
                is_shifted ? json::array({"label"}) : json::array())
          << of_site;
      EXPECT_EQ(of_site.at("applied"), is_shifted ? "prior correction" : "")
          << of_site;
    }
  }
  bool WaitForRound(uint32_t round) {
    return federation_.WaitFor(
        [round](const auto& status) { return status.round() >= round; },
        absl::Seconds(60));
  }

  Federation federation_;
};

TEST_F(RemedyTest,
       TheSiteThatDiffersTrainsOtherwiseAlsoAfterTheAggregatorDied) {
  ASSERT_TRUE(federation_.StartAggregator());
  federation_.StartSites();
  PlanText plan;
  plan.rounds = 100000;
  plan.quorum = kSites;
  plan.architecture = "identity";
  plan.more = "shift: {every: 2, on_shift: apply}\n";
  const CommandResult start = federation_.RunStart(plan);
  ASSERT_EQ(start.exit_code, 0) << start.err;

  // Journalled before a task says it.
  ASSERT_TRUE(WaitUntil([&] { return !RemediesIn(kShifted).empty(); },
                        absl::Seconds(60)))
      << federation_.Logs();
  const std::vector<std::string> told = RemediesIn(kShifted);
  ExpectReport();

  federation_.KillAggregator();
  ASSERT_TRUE(federation_.StartAggregator());
  const uint32_t round = federation_.Status().round();
  // Beyond what was under way, and another look.
  ASSERT_TRUE(WaitForRound(round + 10)) << federation_.Logs();
  ExpectReport();
  const CommandResult stop = federation_.Aggregator(
      {"run", "stop", "--config", federation_.AggregatorConfig(),
       federation_.Status().run_id()});
  EXPECT_EQ(stop.exit_code, 0) << stop.err;

  EXPECT_THAT(told, ElementsAre("this site differs from the others: its "
                                "training takes prior correction"));
  EXPECT_EQ(RemediesIn(kShifted), told);
  EXPECT_EQ(CountChoices(kShifted), 1) << federation_.AggregatorLog();
  for (int i = 0; i < kSites; ++i) {
    if (i == kShifted) continue;
    EXPECT_THAT(RemediesIn(i), IsEmpty()) << i;
    EXPECT_EQ(CountChoices(i), 0) << i;
  }
}

}  // namespace
}  // namespace fedgraft::testing
