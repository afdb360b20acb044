#include "aggregator/cli/scanner_view.h"

#include "aggregator/cli/view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

TEST(ScannerViewTest, IsPartOfTheReportWhereALookHasCounted) {
  pb::StatusReply status;
  status.set_run_id("r1");
  auto& round = *status.add_history();
  round.set_round(8);
  EXPECT_EQ(RenderScanners(status), "");
  (*round.mutable_metrics())["shift_scanners_ge"] = 150;
  (*round.mutable_metrics())["shift_scanners_not_told"] = 50;
  const std::string text = RenderScanners(status);
  EXPECT_THAT(text, HasSubstr("Scanners of all sites, round 8"));
  EXPECT_THAT(text, ContainsRegex("GE HealthCare +150 +75\\.0 %\n"));
  EXPECT_THAT(text, ContainsRegex("not told, or too few to name +50 +25\\.0"));
  EXPECT_THAT(text, HasSubstr("normally"));
  EXPECT_THAT(RenderReport(status), HasSubstr(text));
}

}  // namespace
}  // namespace fedgraft
