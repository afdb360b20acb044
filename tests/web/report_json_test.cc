#include "aggregator/web/report_json.h"

#include <map>
#include <string>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

TEST(ReportJsonTest, TextsThatAreNoUtf8StillGiveJson) {
  pb::StatusReply status;
  status.set_run_id("r1");
  status.add_sites()->set_last_refusal("layout \xFF\xC3 is unknown");
  const auto json = nlohmann::json::parse(ReportJson(status), nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["sites"][0]["last_refusal"],
            "layout \xEF\xBF\xBD\xEF\xBF\xBD is unknown");
}

TEST(ReportJsonTest, TellsHowSitesStand) {
  pb::StatusReply status;
  status.set_federation("lungs");
  status.set_quorum(3);
  status.set_started_unix_ms(1764144000000);
  pb::SiteStatus* site = status.add_sites();
  site->set_connected(true);
  site->set_last_seen_unix_ms(1764144001000);
  site->set_refusals(2);
  const auto json = nlohmann::json::parse(ReportJson(status));
  EXPECT_EQ(json["federation"], "lungs");
  EXPECT_EQ(json["quorum"], 3);
  EXPECT_EQ(json["started_unix_ms"], 1764144000000);
  EXPECT_EQ(json["sites"][0]["connected"], true);
  EXPECT_EQ(json["sites"][0]["last_seen_unix_ms"], 1764144001000);
  EXPECT_EQ(json["sites"][0]["refusals"], 2);
  EXPECT_FALSE(json.contains("shift"));
}

TEST(ReportJsonTest, CarriesTheShiftReportUnlessItIsNone) {
  pb::StatusReply status;
  status.set_shift_report("{\"version\": 1, \"sites\": [\"a\"]}");
  EXPECT_EQ(nlohmann::json::parse(ReportJson(status))["shift"]["sites"][0],
            "a");
  status.set_shift_report("{broken");
  EXPECT_FALSE(nlohmann::json::parse(ReportJson(status)).contains("shift"));
}

TEST(ReportJsonTest, ScannersAreThoseOfTheNewestLookThatCountedThem) {
  pb::StatusReply status;
  EXPECT_FALSE(nlohmann::json::parse(ReportJson(status)).contains("scanners"));
  const auto add = [&status](uint32_t round,
                             const std::map<std::string, double>& metrics) {
    auto& summary = *status.add_history();
    summary.set_round(round);
    for (const auto& [name, value] : metrics) {
      (*summary.mutable_metrics())[name] = value;
    }
  };
  add(2, {{"shift_scanners_ge", 500}});
  add(4, {{"shift_scanners_agfa", 30},
          {"shift_scanners_siemens", 100},
          {"shift_scanners_other", 200},
          {"shift_scanners_not_told", 70},
          {"auc", 0.9}});
  add(5, {{"auc", 0.9}});
  const auto scanners = nlohmann::json::parse(ReportJson(status))["scanners"];
  EXPECT_EQ(scanners["round"], 4);
  EXPECT_EQ(scanners["records"], 400);
  ASSERT_EQ(scanners["counts"].size(), 4u);
  EXPECT_EQ(scanners["counts"][0]["name"], "siemens");
  EXPECT_EQ(scanners["counts"][0]["title"], "Siemens Healthineers");
  EXPECT_EQ(scanners["counts"][1]["records"], 30);
  EXPECT_EQ(scanners["counts"][2]["name"], "other");
  EXPECT_EQ(scanners["counts"][3]["name"], "not_told");
}

}  // namespace
}  // namespace fedgraft
