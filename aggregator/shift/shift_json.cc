#include "aggregator/shift/shift_json.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>

#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

// The order of members is the order of writing.
using Json = nlohmann::ordered_json;

constexpr int kVersion = 1;

Json Number(double value) {
  if (!std::isfinite(value)) return nullptr;
  char text[32];
  std::snprintf(text, sizeof text, "%.5g", value);
  return std::strtod(text, nullptr);
}

Json Tests() {
  Json tests = Json::array();
  for (const ShiftTestSpec& test : ShiftTests()) {
    tests.push_back({{"name", std::string(test.name)},
                     {"kind", std::string(ShiftKindName(test.kind))},
                     {"decisive", test.decisive},
                     {"charted", test.alarm_share > 0},
                     {"title", std::string(test.title)},
                     {"shows", std::string(test.shows)},
                     {"means", std::string(test.means)}});
  }
  return tests;
}

// [round][site][test] of one field.
Json Grid(const ShiftReport& report,
          const std::function<Json(const ShiftCell&)>& field) {
  Json grid = Json::array();
  for (uint32_t round : report.rounds) {
    const auto& sites = report.cells.at(round);
    Json of_round = Json::array();
    for (const std::string& site : report.sites) {
      Json of_site = Json::array();
      const auto cells = sites.find(site);
      for (const ShiftTestSpec& test : ShiftTests()) {
        Json value = nullptr;
        if (cells != sites.end()) {
          const auto cell = cells->second.find(std::string(test.name));
          if (cell != cells->second.end()) value = field(cell->second);
        }
        of_site.push_back(std::move(value));
      }
      of_round.push_back(std::move(of_site));
    }
    grid.push_back(std::move(of_round));
  }
  return grid;
}

Json Triage(const ShiftReport& report) {
  Json all = Json::array();
  for (const SiteTriage& triage : report.triage) {
    Json kinds = Json::array();
    for (ShiftKind kind : triage.kinds) {
      kinds.push_back(std::string(ShiftKindName(kind)));
    }
    all.push_back(
        {{"round", triage.round},
         {"site", triage.site},
         {"kinds", std::move(kinds)},
         {"verdict", triage.verdict},
         {"reason", triage.reason},
         {"remedy", std::string(ShiftRemedyName(triage.remedy))},
         {"advice", triage.advice},
         {"applied", std::string(SiteRemedyName(triage.applied))},
         {"obstacle", std::string(RemedyObstacleWords(triage.obstacle))}});
  }
  return all;
}

Json Priors(const ShiftReport& report) {
  Json all = Json::array();
  for (const auto& [round, sites] : report.priors) {
    for (const auto& [site, priors] : sites) {
      for (const ShiftPrior& prior : priors) {
        all.push_back({{"round", round},
                       {"site", site},
                       {"class", prior.class_name},
                       {"prior", Number(prior.prior)},
                       {"low", Number(prior.low)},
                       {"high", Number(prior.high)},
                       {"reference", Number(prior.reference)}});
      }
    }
  }
  return all;
}

const char* StateName(ChartState state) {
  switch (state) {
    case ChartState::kLearning:
      return "learning";
    case ChartState::kQuiet:
      return "quiet";
    case ChartState::kAlarm:
      return "alarm";
  }
  return "";
}

Json Charts(const ShiftReport& report) {
  Json all = Json::array();
  for (const ShiftChart& chart : report.charts) {
    Json rounds = Json::array(), value = rounds, high = rounds, low = rounds;
    for (const ShiftChart::Point& point : chart.points) {
      rounds.push_back(point.round);
      value.push_back(Number(point.value));
      high.push_back(Number(point.high));
      low.push_back(Number(point.low));
    }
    all.push_back({{"site", chart.site},
                   {"test", chart.test},
                   {"threshold", Number(chart.threshold)},
                   {"low_threshold", Number(chart.low_threshold)},
                   {"deviation", Number(chart.deviation)},
                   {"state", StateName(chart.state)},
                   {"rounds", std::move(rounds)},
                   {"value", std::move(value)},
                   {"high", std::move(high)},
                   {"low", std::move(low)},
                   {"alarms", chart.alarms}});
  }
  return all;
}

Json Alarms(const ShiftReport& report) {
  Json all = Json::array();
  for (const ShiftAlarm& alarm : report.alarms) {
    all.push_back({{"round", alarm.round},
                   {"site", alarm.site},
                   {"test", alarm.test},
                   {"direction", alarm.upwards ? "up" : "down"},
                   {"words", alarm.words}});
  }
  return all;
}

Json Transfers(const ShiftReport& report) {
  Json all = Json::array();
  for (const SiteTransfer& transfer : report.transfer) {
    all.push_back(
        {{"round", transfer.round},
         {"site", transfer.site},
         {"delta", Number(transfer.delta)},
         {"low", Number(transfer.low)},
         {"high", Number(transfer.high)},
         {"p", Number(transfer.p)},
         {"adjusted", Number(transfer.adjusted)},
         {"verdict", std::string(TransferVerdictName(transfer.verdict))},
         {"words", transfer.words}});
  }
  return all;
}

}  // namespace

std::string ShiftReportJson(const ShiftReport& report) {
  Json json;
  json["version"] = kVersion;
  json["false_discovery_rate"] = Number(report.false_discovery_rate);
  json["false_alarm_rate"] = Number(report.false_alarm_rate);
  json["rounds_planned"] = report.rounds_planned;
  json["sites"] = report.sites;
  json["rounds"] = report.rounds;
  json["classes"] = report.class_names;
  json["tests"] = Tests();
  const auto grid = [&](double ShiftCell::*field) {
    return Grid(report,
                [field](const ShiftCell& cell) { return Number(cell.*field); });
  };
  json["p"] = grid(&ShiftCell::p);
  json["adjusted"] = grid(&ShiftCell::adjusted);
  json["effect"] = grid(&ShiftCell::effect);
  json["statistic"] = grid(&ShiftCell::statistic);
  json["dof"] = grid(&ShiftCell::dof);
  json["differs"] =
      Grid(report, [](const ShiftCell& cell) { return Json(cell.differs); });
  json["triage"] = Triage(report);
  json["priors"] = Priors(report);
  json["charts"] = Charts(report);
  json["alarms"] = Alarms(report);
  json["transfer"] = Transfers(report);
  json["notes"] = report.notes;
  // Names come from outside: what is no UTF-8 is replaced, not thrown.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace fedgraft
