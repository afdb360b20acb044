#include "aggregator/cli/view.h"

#include <algorithm>
#include <string>

#include "aggregator/web/human.h"
#include "aggregator/web/report_json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

pb::StatusReply RunWithTwoSites() {
  pb::StatusReply status;
  status.set_federation("lungs");
  status.set_run_id("r1");
  status.set_plan_name("probe");
  status.set_plan_hash(std::string(32, '\xab'));
  status.set_state("training");
  status.set_round(3);
  status.set_rounds(10);
  status.set_model(std::string(32, '\x01'));
  pb::SiteStatus* open = status.add_sites();
  open->set_site("st-mary");
  open->set_connected(true);
  open->set_state("training");
  open->set_progress(0.5);
  open->set_bytes_received(2048);
  open->set_rounds_contributed(2);
  (*open->mutable_scalars())["n"] = 120;
  (*open->mutable_scalars())["auc"] = 0.9;
  (*open->mutable_scalars())["auc_low"] = 0.85;
  (*open->mutable_scalars())["auc_high"] = 0.94;
  (*open->mutable_scalars())["local_auc"] = 0.81;
  pb::SiteStatus* closed = status.add_sites();
  closed->set_site("x");
  closed->set_state("waiting");
  closed->set_last_refusal("over norm");
  pb::RoundSummary* first = status.add_history();
  first->set_round(1);
  first->set_seconds(4);
  (*first->mutable_metrics())["auc"] = 0.7;
  (*first->mutable_metrics())["loss"] = 0.6;
  pb::RoundSummary* second = status.add_history();
  second->set_round(2);
  second->set_seconds(2);
  return status;
}

TEST(ViewTest, HumanBytesPicksTheUnit) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(1023), "1023 B");
  EXPECT_EQ(HumanBytes(1536), "1.5 KiB");
  EXPECT_EQ(HumanBytes(uint64_t{5} << 40), "5.0 TiB");
}

TEST(ViewTest, HumanSecondsPicksTheUnit) {
  EXPECT_EQ(HumanSeconds(0.0042), "0.0042s");
  EXPECT_EQ(HumanSeconds(12.4), "12s");
  EXPECT_EQ(HumanSeconds(75), "1m15s");
  EXPECT_EQ(HumanSeconds(3700), "1h01m");
}

TEST(ViewTest, StatusShowsRunLineAndALinePerSite) {
  const std::string text = RenderStatus(RunWithTwoSites(), 0);
  EXPECT_THAT(text, HasSubstr("lungs: probe [r1] training, round 3/10"));
  EXPECT_THAT(text, HasSubstr("pooled AUC 0.700 loss 0.6000"));
  EXPECT_THAT(text, HasSubstr("[##########..........]"));
  EXPECT_THAT(text, HasSubstr("not connected  refused: over norm"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
}

TEST(ViewTest, StatusWithoutRunSaysSo) {
  pb::StatusReply status;
  status.set_federation("lungs");
  EXPECT_EQ(RenderStatus(status, 0), "lungs: no run yet, 0 site(s) known\n");
}

TEST(ViewTest, StatusSaysWhetherUpdatesAreMaskedAndWhyTheRunEnded) {
  pb::StatusReply status = RunWithTwoSites();
  status.set_masks("updates are NOT masked: why");
  status.set_end_reason("no sum could be unmasked");
  EXPECT_THAT(RenderStatus(status, 0),
              HasSubstr("\n  updates are NOT masked: why\n"
                        "  no sum could be unmasked\n"));
}

TEST(ViewTest, StatusNeverExceedsTheTerminalsWidth) {
  pb::StatusReply wide = RunWithTwoSites();
  wide.set_masks(std::string(100, 'm'));
  const std::string text = RenderStatus(wide, 40);
  const std::string sites = text.substr(text.find('\n') + 1);
  size_t start = 0;
  while (start < sites.size()) {
    const size_t end = sites.find('\n', start);
    EXPECT_LE(end - start, 40u);
    start = end + 1;
  }
}

TEST(ViewTest, ReportShowsWhatSitesLetOutAndDashesForTheRest) {
  const std::string text = RenderReport(RunWithTwoSites());
  EXPECT_THAT(text, HasSubstr("0.850..0.940"));
  EXPECT_THAT(text, HasSubstr("0.810"));
  const size_t x = text.find("\nx ");
  ASSERT_NE(x, std::string::npos);
  const std::string line = text.substr(x + 1, text.find('\n', x + 1) - x - 1);
  EXPECT_THAT(line, HasSubstr("-"));
  EXPECT_THAT(line, Not(HasSubstr("0.")));
}

TEST(ViewTest, ReportShowsTheDriftThatSitesTold) {
  pb::StatusReply status = RunWithTwoSites();
  EXPECT_THAT(RenderReport(status), Not(HasSubstr("Drift")));
  auto& open = *status.mutable_sites(0)->mutable_scalars();
  open["drift_layer3.0"] = 0;
  open["drift_layer4.0"] = 0.25;
  open["drift_layer4.1"] = 0.125;
  auto& probe = *status.mutable_sites(1)->mutable_scalars();
  probe["drift_layer3.0"] = probe["drift_layer4.0"] = 0;
  const std::string text = RenderReport(status);
  const std::string drift = text.substr(text.find("Drift"));
  EXPECT_THAT(drift, ::testing::ContainsRegex(
                         "st-mary +2 of 3 +0\\.2500 +layer4\\.0\n"));
  EXPECT_THAT(drift, ::testing::ContainsRegex("x +0 of 2 +0\\.0000 +-\n"));
}

// A solve round has metrics, but no evaluation.
TEST(ViewTest, TheNewestEvaluationCounts) {
  pb::StatusReply status = RunWithTwoSites();
  (*status.mutable_history(1)->mutable_metrics())["solve_records"] = 90;
  EXPECT_THAT(RenderStatus(status, 0), HasSubstr("pooled AUC 0.700"));
  EXPECT_EQ(nlohmann::json::parse(ReportJson(status))["pooled"]["auc"], 0.7);
}

TEST(ViewTest, JsonHoldsTheSchemaOfTheReadme) {
  const auto json = nlohmann::json::parse(ReportJson(RunWithTwoSites()));
  EXPECT_EQ(json["state"], "training");
  EXPECT_EQ(json["sites"][0]["scalars"]["n"], 120);
  EXPECT_EQ(json["pooled"]["auc"], 0.7);
  EXPECT_EQ(json["history"].size(), 2u);
  std::string sha256;
  for (int i = 0; i < 32; ++i) sha256 += "01";
  EXPECT_EQ(json["model_sha256"], sha256);
}

}  // namespace
}  // namespace fedgraft
