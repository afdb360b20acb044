#include "aggregator/web/html.h"

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "aggregator/web/line_chart.h"
#include "aggregator/web/row_plot.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST(HtmlTest, EscapeTurnsMarkupIntoText) {
  EXPECT_EQ(Escape("<a href=\"x\">&'"),
            "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
  EXPECT_EQ(Escape("Universit\xC3\xA4t \xE5\x8C\x97 \xF0\x9F\x8F\xA5"),
            "Universit\xC3\xA4t \xE5\x8C\x97 \xF0\x9F\x8F\xA5");
}

TEST(HtmlTest, EscapeReplacesWhatIsNoUtf8AndWhatIsInvisible) {
  const std::string mark = "\xEF\xBF\xBD";
  EXPECT_EQ(Escape("\xFF"), mark);
  EXPECT_EQ(Escape("a\xC3"), "a" + mark);                 // cut off
  EXPECT_EQ(Escape("\xC0\xAF"), mark + mark);             // overlong '/'
  EXPECT_EQ(Escape("\xE0\x80\xBC"), mark + mark + mark);  // overlong '<'
  EXPECT_EQ(Escape("\xED\xA0\x80"), mark + mark + mark);  // surrogate
  EXPECT_EQ(Escape(std::string("\0\x1B", 2)), mark + mark);
  EXPECT_EQ(Escape("\xE2\x80\xAE"), mark);  // right to left
  EXPECT_EQ(Escape("a\nb\tc"), "a\nb\tc");
}

TEST(HtmlTest, NumbersThatAreNoneAreDashes) {
  EXPECT_EQ(Number(0.9137, 3), "0.914");
  EXPECT_EQ(Number(kNaN, 3), "\xE2\x80\x93");
  EXPECT_EQ(PValue(0.0004), "&lt; 0.001");
  EXPECT_EQ(PValue(0.0312), "0.031");
  EXPECT_EQ(PValue(0.312), "0.31");
  EXPECT_EQ(WithInterval(0.5, kNaN, 1, 2), "0.50");
  EXPECT_EQ(Moment(absl::UnixEpoch()), "\xE2\x80\x93");
}

TEST(RowPlotTest, TicksAreRoundAndCoverTheNumbers) {
  EXPECT_THAT(NiceTicks(0.71, 0.94, 5),
              ElementsAre(::testing::DoubleNear(0.70, 1e-9),
                          ::testing::DoubleNear(0.75, 1e-9),
                          ::testing::DoubleNear(0.80, 1e-9),
                          ::testing::DoubleNear(0.85, 1e-9),
                          ::testing::DoubleNear(0.90, 1e-9),
                          ::testing::DoubleNear(0.95, 1e-9)));
  EXPECT_THAT(NiceTicks(0, 100, 5), ElementsAre(0, 20, 40, 60, 80, 100));
  EXPECT_EQ(TickDigits(NiceTicks(0.71, 0.94, 5)), 2);
  EXPECT_EQ(TickDigits(NiceTicks(0, 100, 5)), 0);
}

TEST(RowPlotTest, TicksAreFewWhateverTheNumbers) {
  for (const auto& [low, high] :
       std::vector<std::pair<double, double>>{{1e300, 1e300 * (1 + 1e-15)},
                                              {-1e308, 1e308},
                                              {1e99, 1e99},
                                              {0, 5e-324},
                                              {kNaN, kNaN},
                                              {3, 2},
                                              {0.3, 0.3 + 1e-16}}) {
    const auto ticks = NiceTicks(low, high, 5);
    EXPECT_GE(ticks.size(), 2u) << low << " " << high;
    EXPECT_LE(ticks.size(), 8u) << low << " " << high;
  }
}

TEST(RowPlotTest, PositionsGrowWithValuesAndStayInside) {
  const RowScale scale({0.6, kNaN, 0.9}, 0, 1);
  EXPECT_LT(scale.Percent(0.6), scale.Percent(0.7));
  EXPECT_LT(scale.Percent(0.7), scale.Percent(0.9));
  EXPECT_GE(scale.Percent(-5), 0);
  EXPECT_LE(scale.Percent(5), 100);
  EXPECT_TRUE(std::isnan(scale.Percent(kNaN)));
}

TEST(RowPlotTest, MarksWithoutNumberAreNotDrawn) {
  const RowScale scale({0.6, 0.9}, 0, 1);
  Row row;
  row.title = "<x>";
  row.ranges = {{kNaN, 0.8, "fed"}};
  row.marks = {{MarkShape::kDot, kNaN, "fed"}};
  const std::string svg = RowPlot(scale, row, kNaN);
  EXPECT_THAT(svg, HasSubstr("role=img"));
  EXPECT_THAT(svg, HasSubstr("<title>&lt;x&gt;</title>"));
  EXPECT_THAT(svg, Not(HasSubstr("circle")));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(RowPlotTest, AReferenceBeyondTheAxisIsNotDrawnAtItsEnd) {
  const RowScale scale({0.8, 0.9}, 0, 1);
  EXPECT_THAT(RowPlot(scale, {}, 0.5), Not(HasSubstr("class=ref")));
  EXPECT_THAT(RowPlot(scale, {}, 0.85), HasSubstr("class=ref"));
}

TEST(LineChartTest, HasTitleDescriptionAndNoGapForMissingNumbers) {
  LineChart chart;
  chart.title = "AUC & loss";
  chart.description = "it <rises>";
  chart.x = {1, 2, 3};
  chart.series = {{"st-mary", "bad", {0.5, kNaN, 0.7}, {}, {}}};
  chart.limits = {{0.6, "h"}};
  const std::string svg = RenderLineChart(chart);
  EXPECT_THAT(svg,
              HasSubstr("<title>AUC &amp; loss</title><desc>it &lt;rises"));
  EXPECT_THAT(svg, HasSubstr("class=\"line bad\" d=\"M"));
  EXPECT_THAT(svg, HasSubstr(">st-mary</text>"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(LineChartTest, NothingToDrawIsNothing) {
  LineChart chart;
  EXPECT_EQ(RenderLineChart(chart), "");
  chart.x = {1};
  chart.series = {{"", "fed", {kNaN}, {}, {}}};
  EXPECT_EQ(RenderLineChart(chart), "");
}

TEST(LineChartTest, AConstantLineAndALonePointAreDrawn) {
  LineChart chart;
  chart.x = {7};
  chart.series = {{"", "fed", {0.5}, {}, {}}};
  EXPECT_THAT(RenderLineChart(chart), HasSubstr("<circle class=fed"));
  chart.x = {7, 8};
  chart.series[0].y = {0, 0};
  const std::string svg = RenderLineChart(chart);
  EXPECT_THAT(svg, HasSubstr("class=\"line fed\""));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
}

}  // namespace
}  // namespace fedgraft
