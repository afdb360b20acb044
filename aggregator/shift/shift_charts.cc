#include "aggregator/shift/shift_charts.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/shift/cusum.h"
#include "common/shift/distributions.h"

namespace fedgraft {
namespace {

using Point = ShiftChart::Point;

bool HasNewRecords(const std::map<std::string, double>& scalars) {
  const auto value = scalars.find(std::string(kShiftNewRecords));
  return value != scalars.end() && value->second > 0;
}

std::vector<Point> Values(const ShiftHistory& history,
                          const ShiftReport& report, const std::string& site,
                          const std::string& test) {
  std::vector<Point> points;
  for (const auto& [round, sites] : report.cells) {
    const auto of_site = sites.find(site);
    if (of_site == sites.end()) continue;
    const auto cell = of_site->second.find(test);
    if (cell == of_site->second.end()) continue;
    if (!HasNewRecords(history.at(round).at(site))) continue;
    Point point;
    point.round = round;
    point.value = DeviateOfPValue(cell->second.p);
    points.push_back(point);
  }
  return points;
}

// From differences of neighbours, so that a change shows once and not for good.
double Spread(const std::vector<Point>& points) {
  if (points.size() < kChartBaseline) return kChartSpread;
  double squares = 0;
  for (int i = 1; i < kChartBaseline; ++i) {
    const double step = points[i].value - points[i - 1].value;
    squares += step * step;
  }
  const double spread = std::sqrt(squares / (2 * (kChartBaseline - 1)));
  return spread > kChartSpreadMax ? spread : kChartSpread;
}

void Follow(uint32_t acknowledged, ShiftChart& chart) {
  Cusum cusum(chart.threshold, chart.low_threshold, chart.deviation);
  bool is_known = acknowledged == 0;
  for (Point& point : chart.points) {
    if (!is_known && point.round > acknowledged) {
      cusum.Acknowledge();
      is_known = true;
    }
    if (cusum.Add(point.value)) chart.alarms.push_back(point.round);
    point.high = cusum.high();
    point.low = cusum.low();
  }
  chart.state = cusum.alarmed()                   ? ChartState::kAlarm
                : cusum.values() < kChartBaseline ? ChartState::kLearning
                                                  : ChartState::kQuiet;
}

struct Thresholds {
  double away = 0, towards = 0;
};

// Of one site's chart with that share of the site's false alarms.
absl::StatusOr<Thresholds> Solve(const ShiftReport& report, double share) {
  const auto of_side = [&](double of_chart) {
    const double part =
        share * of_chart / static_cast<double>(report.sites.size());
    return CusumSideThreshold(
        -std::expm1(std::log1p(-report.false_alarm_rate) * part),
        static_cast<int>(report.rounds_planned));
  };
  Thresholds thresholds;
  FG_ASSIGN_OR_RETURN(thresholds.away, of_side(kAwayShare));
  FG_ASSIGN_OR_RETURN(thresholds.towards, of_side(1 - kAwayShare));
  return thresholds;
}

void AddAlarms(const ShiftChart& chart, std::vector<ShiftAlarm>& alarms) {
  for (uint32_t round : chart.alarms) {
    const auto point =
        std::find_if(chart.points.begin(), chart.points.end(),
                     [&](const Point& p) { return p.round == round; });
    ShiftAlarm alarm;
    alarm.round = round;
    alarm.site = chart.site;
    alarm.test = chart.test;
    alarm.upwards = point->high > point->low;
    alarm.words = absl::StrCat(
        "Site ", chart.site,
        " changed: ", std::string(FindShiftTest(chart.test)->title),
        alarm.upwards ? " moved away from" : " moved towards",
        " those of the other sites (round ", round, ").");
    alarms.push_back(std::move(alarm));
  }
}

}  // namespace

absl::Status AddCharts(const ShiftHistory& history,
                       const ShiftReportOptions& options, ShiftReport& report) {
  for (const std::string& site : report.sites) {
    for (const ShiftTestSpec& test : ShiftTests()) {
      if (!(test.alarm_share > 0)) continue;
      ShiftChart chart;
      chart.site = site;
      chart.test = std::string(test.name);
      chart.points = Values(history, report, site, chart.test);
      if (!chart.points.empty()) report.charts.push_back(std::move(chart));
    }
  }
  if (report.charts.empty()) return absl::OkStatus();
  std::map<std::string, Thresholds> thresholds;
  for (ShiftChart& chart : report.charts) {
    const auto [found, is_new] = thresholds.try_emplace(chart.test);
    if (is_new) {
      FG_ASSIGN_OR_RETURN(
          found->second, Solve(report, FindShiftTest(chart.test)->alarm_share));
    }
    chart.threshold = found->second.away;
    chart.low_threshold = found->second.towards;
    chart.deviation = Spread(chart.points);
    const auto known = options.acknowledged.find({chart.site, chart.test});
    Follow(known == options.acknowledged.end() ? 0 : known->second, chart);
    AddAlarms(chart, report.alarms);
  }
  std::stable_sort(report.alarms.begin(), report.alarms.end(),
                   [](const ShiftAlarm& a, const ShiftAlarm& b) {
                     return a.round < b.round;
                   });
  return absl::OkStatus();
}

}  // namespace fedgraft
