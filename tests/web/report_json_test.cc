#include "aggregator/web/report_json.h"

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

}  // namespace
}  // namespace fedgraft
