#include "aggregator/web/page.h"

#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/web/sample_report.h"

namespace fedgraft {
namespace {

using ::testing::AnyOf;
using ::testing::ContainsRegex;
using testing::EmptyReport;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::SampleReport;

constexpr const char* kHostile = "<script>alert(1)</script>\"'&";

std::string PageOf(const nlohmann::json& report, PageOptions options = {}) {
  options.now = absl::FromUnixMillis(1764147600000);
  const auto page = RenderRunPage(report.dump(), options);
  EXPECT_TRUE(page.ok()) << page.status();
  return page.value_or("");
}

std::string PanelOf(const std::string& page, const std::string& id) {
  const size_t begin = page.find(absl::StrCat("id=", id, " "));
  EXPECT_NE(begin, std::string::npos) << id;
  const size_t end = page.find("</section>", begin);
  return page.substr(begin, end - begin);
}

// Tags in `page` that are not closed in the order in which they were opened.
// Attributes' values hold no '<' or '>': those are escaped.
std::string Unbalanced(const std::string& page) {
  static const std::set<std::string> kVoid = {"!DOCTYPE", "meta", "link"};
  std::vector<std::string> open;
  for (size_t at = page.find('<'); at != std::string::npos;
       at = page.find('<', at + 1)) {
    const size_t end = page.find('>', at);
    std::string tag = page.substr(at + 1, end - at - 1);
    if (tag.empty() || tag.back() == '/') continue;
    const bool closes = tag[0] == '/';
    tag =
        tag.substr(closes ? 1 : 0, tag.find_first_of(" \n") - (closes ? 1 : 0));
    if (kVoid.contains(tag)) continue;
    if (!closes) {
      open.push_back(tag);
    } else if (open.empty() || open.back() != tag) {
      return absl::StrCat("</", tag, "> at byte ", at);
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : "<" + open.back() + ">";
}

// Every text of the document replaced.
void Poison(nlohmann::json& json) {
  if (json.is_string()) {
    json = kHostile;
  } else if (json.is_structured()) {
    for (auto& item : json) Poison(item);
  }
}

TEST(RunPageTest, RefusesWhatIsNoReport) {
  for (const char* text : {"", "[]", "3", "{", "null"}) {
    EXPECT_EQ(RenderRunPage(text, {}).status().code(),
              absl::StatusCode::kInvalidArgument)
        << text;
  }
}

TEST(RunPageTest, EveryTextOfTheReportIsEscaped) {
  nlohmann::json report = SampleReport(4, 12);
  Poison(report);
  report["shift"]["tests"][0]["decisive"] = true;
  const std::string page = PageOf(report);
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(1)"));
  EXPECT_EQ(Unbalanced(page), "");
}

TEST(RunPageTest, SiteNamesWithMarkupOrBrokenUtf8DoNotLeaveTheirCell) {
  nlohmann::json report = SampleReport(4, 12);
  report["sites"][0]["site"] = "a<b onload='x'>\xE2\x80\xAE\x01";
  const std::string page = PageOf(report);
  EXPECT_THAT(page, HasSubstr("a&lt;b onload=&#39;x&#39;&gt;\xEF\xBF\xBD"));
  EXPECT_EQ(Unbalanced(page), "");
}

TEST(RunPageTest, PageIsWellFormedAndNeedsNothingElse) {
  for (const nlohmann::json& report :
       {SampleReport(4, 40), EmptyReport(), nlohmann::json::object()}) {
    const std::string page = PageOf(report);
    EXPECT_EQ(Unbalanced(page), "");
    for (const char* outside :
         {"<script", "src=", "http:", "https:", "url(", "@import"}) {
      EXPECT_THAT(page, Not(HasSubstr(outside))) << outside;
    }
  }
}

TEST(RunPageTest, EachPanelSaysWhatItShowsWhatIsNormalAndWhatToDo) {
  const std::string page = PageOf(SampleReport(4, 12));
  for (const char* id :
       {"sites", "auc", "transfer", "convergence", "triage", "heat", "charts",
        "alarms", "priors", "scanners", "drift", "privacy", "rounds"}) {
    const std::string panel = PanelOf(page, id);
    EXPECT_THAT(panel, ContainsRegex("<p class=shows>[^<]{40}")) << id;
    EXPECT_THAT(panel, HasSubstr("<dt>Normal</dt>")) << id;
    EXPECT_THAT(panel, HasSubstr("<dt>What to do</dt>")) << id;
    EXPECT_THAT(panel, Not(HasSubstr("Nothing to show"))) << id;
    EXPECT_THAT(page, HasSubstr(absl::StrCat("href=\"#", id, "\"")));
  }
}

TEST(RunPageTest, ScannersAreShownOnlyWhereTheyAreCounted) {
  const std::string panel = PanelOf(PageOf(SampleReport(4, 12)), "scanners");
  EXPECT_THAT(panel, HasSubstr("GE HealthCare"));
  EXPECT_THAT(panel, HasSubstr("66.7 %"));
  EXPECT_THAT(panel, HasSubstr("Training images by manufacturer, round 12"));
  nlohmann::json report = SampleReport(4, 12);
  for (const nlohmann::json& none :
       {nlohmann::json(), nlohmann::json("x"),
        nlohmann::json({{"round", 1}, {"records", 0}, {"counts", {1}}})}) {
    report["scanners"] = none;
    EXPECT_THAT(PageOf(report), Not(HasSubstr("scanners\"")));
  }
}

TEST(RunPageTest, PanelsWithoutDataSayHowToTurnThemOn) {
  const std::string page = PageOf(EmptyReport());
  const std::pair<const char*, const char*> kPanels[] = {
      {"sites", "pki approve"},
      {"auc", "share_site_scalars: true"},
      {"transfer", "compare_local"},
      {"convergence", "evaluation: {every"},
      {"triage", "shift: {every: 1}"},
      {"heat", "shift: {every: 1}"},
      {"charts", "shift: {every: 1}"},
      {"alarms", "shift: {every: 1}"},
      {"priors", "shift: {every: 1}"},
      {"drift", "compare_local"},
      {"privacy", "differential_privacy"},
      {"rounds", "quorum"}};
  for (const auto& [id, hint] : kPanels) {
    const std::string panel = PanelOf(page, id);
    EXPECT_THAT(panel, HasSubstr("Nothing to show")) << id;
    EXPECT_THAT(panel, HasSubstr(hint)) << id;
  }
}

TEST(RunPageTest, AttentionNamesWhatNeedsSomebodyAndNothingElse) {
  const std::string attention =
      PanelOf(PageOf(SampleReport(4, 40)), "attention");
  EXPECT_THAT(attention,
              HasSubstr("Not connected</span> <span><b>west-clinic"));
  EXPECT_THAT(attention, HasSubstr("Refused"));
  EXPECT_THAT(attention, HasSubstr("Alarm</span> <span>data have changed "
                                   "during the run at <b>north-hospital"));
  EXPECT_THAT(attention,
              HasSubstr("<b>north-hospital</b>, <b>east-clinic</b>"));
  EXPECT_THAT(attention, HasSubstr("would serve <b>south-hospital</b>"));
  nlohmann::json calm = SampleReport(3, 12);
  calm.erase("shift");
  for (auto& site : calm["sites"]) {
    site["last_refusal"] = "";
    site["scalars"].erase("privacy_epsilon");
  }
  EXPECT_THAT(PanelOf(PageOf(calm), "attention"), HasSubstr("All well"));
}

TEST(RunPageTest, AFinishedRunMissesNoSite) {
  nlohmann::json report = SampleReport(4, 12);
  report["state"] = "finished";
  EXPECT_THAT(PanelOf(PageOf(report), "attention"),
              Not(HasSubstr("Not connected")));
}

TEST(RunPageTest, ForestShowsIntervalsAndLeavesOutSitesThatKeepThemIn) {
  nlohmann::json report = SampleReport(3, 12);
  report["sites"][0]["scalars"] = {{"n", 120},
                                   {"auc", 0.9},
                                   {"auc_low", 0.85},
                                   {"auc_high", 0.94},
                                   {"local_auc", 0.81}};
  report["sites"][1]["scalars"] = nlohmann::json::object();
  const std::string panel = PanelOf(PageOf(report), "auc");
  EXPECT_THAT(panel, HasSubstr("0.900 <span class=ci>(0.850 to 0.940)"));
  EXPECT_THAT(panel, HasSubstr("+0.090"));
  EXPECT_THAT(panel, Not(HasSubstr("east-clinic")));
}

TEST(RunPageTest, HeatMapCellsCarryTheNewestPAndAStripOfTheOthers) {
  nlohmann::json report = SampleReport(4, 3);
  nlohmann::json& shift = report["shift"];
  for (int round = 0; round < 3; ++round) shift["adjusted"][round][0][0] = 0.5;
  shift["adjusted"][2][0][0] = 0.0001;
  const std::string panel = PanelOf(PageOf(report), "heat");
  EXPECT_THAT(panel, HasSubstr("&lt; 0.001</span><svg class=strip "
                               "aria-hidden=true viewBox=\"0 0 3 1\" "
                               "preserveAspectRatio=none><path class=h3 "
                               "d=\"M2 0h1v1h-1z\"/></svg>"));
}

TEST(RunPageTest, WrongTypesAreLikeMissingData) {
  nlohmann::json report = SampleReport(4, 12);
  report["sites"][0]["scalars"] = "none";
  report["sites"][1] = 7;
  report["history"][3] = nullptr;
  report["history"][4]["metrics"]["auc"] = "high";
  report["shift"]["adjusted"] = {1, 2};
  report["shift"]["charts"][0]["rounds"] = "all";
  report["shift"]["priors"][0]["low"] = nullptr;
  report["pooled"] = nlohmann::json::array();
  EXPECT_EQ(Unbalanced(PageOf(report)), "");
  for (const char* list : {"history", "sites", "shift", "pooled"}) {
    report[list] = "text";
    EXPECT_EQ(Unbalanced(PageOf(report)), "") << list;
  }
}

// Budgets of a page for the largest federation that people look at.
TEST(RunPageTest, FiftySitesOverAHundredRoundsRenderFastAndStaySmall) {
  const std::string report = SampleReport(50, 100).dump();
  const absl::Time start = absl::Now();
  const auto page = RenderRunPage(report, {});
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
  ASSERT_TRUE(page.ok());
  std::printf("50 sites x 100 rounds: report %zu KiB, page %zu KiB, %.0f ms\n",
              report.size() >> 10, page->size() >> 10, 1000 * seconds);
  EXPECT_LT(seconds, 1);
  EXPECT_LT(page->size(), size_t{2} << 20);
  EXPECT_EQ(Unbalanced(*page), "");
}

TEST(RunPageTest, OnlyAServedPageOfAnOpenRunRefreshes) {
  PageOptions served;
  served.is_served = true;
  EXPECT_THAT(PageOf(SampleReport(3, 5), served),
              HasSubstr("href=\"?refresh=10\""));
  served.refresh = absl::Seconds(10);
  EXPECT_THAT(PageOf(SampleReport(3, 5), served),
              HasSubstr("http-equiv=refresh content=10"));
  EXPECT_THAT(PageOf(SampleReport(3, 5)), Not(HasSubstr("refresh")));
}

TEST(IndexPageTest, ListsRunsWithTheirStateAndEscapesThem) {
  RunLine line = SummarizeRun(SampleReport(4, 40));
  line.plan = kHostile;
  const std::string page = RenderIndexPage("chest-net", {line}, {});
  EXPECT_THAT(page, HasSubstr("href=\"/runs/5f3a0c9be1d24a77\""));
  EXPECT_THAT(page, HasSubstr("40 of 50"));
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_EQ(Unbalanced(page), "");
  EXPECT_THAT(RenderIndexPage("chest-net", {}, {}),
              HasSubstr("There has been no run yet"));
}

}  // namespace
}  // namespace fedgraft
