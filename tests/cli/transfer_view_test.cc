#include "aggregator/cli/transfer_view.h"

#include <map>
#include <string>

#include "aggregator/cli/view.h"
#include "aggregator/web/report_json.h"
#include "aggregator/web/transfer_summary.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

pb::StatusReply SolvedRun() {
  pb::StatusReply status;
  status.set_run_id("r1");
  auto& cross = *status.add_history()->mutable_metrics();
  cross["solve_records"] = 90;
  cross["transfer_records"] = 90;
  cross["transfer_features"] = 512;
  cross["transfer_log_me"] = -0.51234;
  cross["transfer_h_score"] = 0.625;
  cross["transfer_effective_dimension"] = 23.46;
  status.add_history();
  return status;
}

void AddSite(pb::StatusReply& status, const std::string& name,
             const std::map<std::string, double>& scalars) {
  pb::SiteStatus& site = *status.add_sites();
  site.set_site(name);
  site.mutable_scalars()->insert(scalars.begin(), scalars.end());
}

TEST(TransferViewTest, MeasuresComeFromTheSolveRoundWithWhatIsNormal) {
  const std::string text = RenderTransfer(SolvedRun());
  EXPECT_THAT(text, HasSubstr("\nTransfer: "));
  EXPECT_THAT(text, HasSubstr("512 features as the backbone makes them, not "
                              "normalised; 90 training records"));
  EXPECT_THAT(text, ContainsRegex("LogME +-0\\.5123\n"));
  EXPECT_THAT(text, ContainsRegex("H-score +0\\.6250\n"));
  EXPECT_THAT(text, ContainsRegex("effective dimension +23\\.5\n"));
  EXPECT_THAT(text, HasSubstr("normally between 0 and"));
  EXPECT_THAT(text, Not(HasSubstr("Drift")));
  EXPECT_EQ(RenderTransfer(pb::StatusReply()), "");
}

TEST(TransferViewTest, DriftIsTheMeanWeightedByImagesWithItsSpread) {
  pb::StatusReply status;
  AddSite(status, "a", {{"n", 30}, {"drift_layer2", 0.5}, {"drift_head", 1}});
  AddSite(status, "b", {{"n", 10}, {"drift_layer2", 0.1}});
  const auto stages = DriftByStage(status);
  ASSERT_EQ(stages.size(), 2u);
  EXPECT_EQ(stages[1].stage, "layer2");
  EXPECT_EQ(stages[1].sites, 2);
  EXPECT_DOUBLE_EQ(stages[1].mean, (30 * 0.5 + 10 * 0.1) / 40);
  EXPECT_EQ(stages[1].least, 0.1);
  EXPECT_EQ(stages[1].most, 0.5);
  EXPECT_EQ(stages[0].sites, 1);
  EXPECT_EQ(stages[0].mean, 1);
}

TEST(TransferViewTest, ASiteThatKeepsItsSizeInCountsAsTheMeanOfTheOthers) {
  pb::StatusReply status;
  AddSite(status, "a", {{"n", 30}, {"drift_s", 0.6}});
  AddSite(status, "b", {{"n", 10}, {"drift_s", 0.2}});
  AddSite(status, "c", {{"drift_s", 1.0}});
  EXPECT_DOUBLE_EQ(DriftByStage(status)[0].mean,
                   (30 * 0.6 + 10 * 0.2 + 20 * 1.0) / 60);
  pb::StatusReply silent;
  AddSite(silent, "a", {{"drift_s", 0.5}});
  AddSite(silent, "b", {{"drift_s", 0.0}});
  EXPECT_DOUBLE_EQ(DriftByStage(silent)[0].mean, 0.25);
}

TEST(TransferViewTest, PooledDriftIsTheRatioOfTheSitesSums) {
  pb::StatusReply status;
  AddSite(
      status, "a",
      {{"drift_s", 0.5}, {"hsic_xy_s", 1}, {"hsic_xx_s", 2}, {"hsic_yy_s", 2}});
  AddSite(status, "b",
          {{"drift_s", 0.25},
           {"hsic_xy_s", 7},
           {"hsic_xx_s", 14},
           {"hsic_yy_s", 7}});
  // 8 / sqrt(16 * 9)
  ASSERT_TRUE(DriftByStage(status)[0].pooled.has_value());
  EXPECT_DOUBLE_EQ(*DriftByStage(status)[0].pooled, 1 - 8.0 / 12);
  EXPECT_THAT(RenderTransfer(status), ContainsRegex("s +2 +0\\.3333 "));
  AddSite(status, "c", {});  // tells no drift at all
  EXPECT_TRUE(DriftByStage(status)[0].pooled.has_value());
  AddSite(status, "d", {{"drift_s", 0.25}});  // keeps its sums in
  EXPECT_FALSE(DriftByStage(status)[0].pooled.has_value());
  EXPECT_FALSE(TransferJson(status)["drift"][0].contains("pooled"));
}

TEST(TransferViewTest, StagesComeInTheOrderOfTheirNumbers) {
  pb::StatusReply status;
  AddSite(status, "a",
          {{"drift_f.2", 0},
           {"drift_f.10", 0},
           {"drift_f.1", 0},
           {"drift_f.2.b", 0}});
  std::string order;
  for (const StageDrift& stage : DriftByStage(status))
    order += stage.stage + " ";
  EXPECT_EQ(order, "f.1 f.2 f.2.b f.10 ");
}

TEST(TransferViewTest, AlignmentHasALinePerSite) {
  pb::StatusReply status = SolvedRun();
  EXPECT_THAT(RenderTransfer(status), Not(HasSubstr("Main directions")));
  auto& metrics = *status.mutable_history(0)->mutable_metrics();
  metrics["subspace_cos2_a_z"] = 0.75;
  metrics["subspace_z_a_z"] = 21.04;
  metrics["subspace_cos2_b"] = 0.0625;
  metrics["subspace_z_b"] = -0.5;
  const std::string text = RenderTransfer(status);
  EXPECT_THAT(text, ContainsRegex("a_z +0\\.7500 +21\\.0\n"));
  EXPECT_THAT(text, ContainsRegex("b +0\\.0625 +-0\\.5\n"));
  const auto json = TransferJson(status)["subspaces"];
  ASSERT_EQ(json.size(), 2u);
  EXPECT_EQ(json[1]["site"], "b");
  EXPECT_EQ(json[1]["z"], -0.5);
}

TEST(TransferViewTest, JsonHoldsBothParts) {
  pb::StatusReply status = SolvedRun();
  AddSite(status, "a", {{"n", 30}, {"drift_s", 0.5}});
  const auto json = nlohmann::json::parse(ReportJson(status))["transfer"];
  EXPECT_EQ(json["pooled"]["log_me"], -0.51234);
  EXPECT_EQ(json["pooled"]["features"], 512);
  EXPECT_FALSE(json["pooled"].contains("solve_records"));
  ASSERT_EQ(json["drift"].size(), 1u);
  EXPECT_EQ(json["drift"][0]["stage"], "s");
  EXPECT_EQ(json["drift"][0]["mean"], 0.5);
  EXPECT_EQ(json["drift"][0]["sites"], 1);
}

TEST(TransferViewTest, ReportHoldsTheSectionBetweenTableAndTotals) {
  const std::string text = RenderReport(SolvedRun());
  EXPECT_LT(text.find("accuracy"), text.find("LogME"));
  EXPECT_LT(text.find("LogME"), text.find("Median round"));
}

}  // namespace
}  // namespace fedgraft
