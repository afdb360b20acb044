#include "client/shift/watch_history.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/shift/watch_checks.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/shift/cusum.h"
#include "common/shift/distributions.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

using Json = nlohmann::json;

constexpr int kVersion = 1;
constexpr double kDeviateMax = 8;  // absolute; the chart cuts earlier

double Threshold() {
  const auto threshold = CusumSideThreshold(
      kWatchChartRate / static_cast<double>(WatchCharts().size()),
      kWatchBatches);
  FG_CHECK(threshold.ok());
  return *threshold;
}

std::map<std::string, double> DeviatesOf(const WatchReport& report) {
  std::map<std::string, double> deviates;
  for (std::string_view chart : WatchCharts()) {
    double least = 1, checks = 0;
    for (const WatchResult& result : report.results) {
      if (WatchCheckOf(result.name).chart != chart) continue;
      least = std::min(least, result.result.p);
      ++checks;
    }
    if (checks == 0) continue;
    // 1 - (1 - p)^k, also for the smallest p.
    const double p = -std::expm1(checks * std::log1p(-least));
    deviates[std::string(chart)] =
        std::clamp(DeviateOfPValue(p), -kDeviateMax, kDeviateMax);
  }
  return deviates;
}

bool IsDeviates(const Json& json) {
  if (!json.is_object()) return false;
  for (const auto& [name, value] : json.items()) {
    const absl::Span<const std::string_view> charts = WatchCharts();
    if (std::find(charts.begin(), charts.end(), name) == charts.end() ||
        !value.is_number() || !(std::abs(value.get<double>()) <= kDeviateMax)) {
      return false;
    }
  }
  return true;
}

}  // namespace

absl::StatusOr<WatchHistory> WatchHistory::Decode(std::string_view json,
                                                  std::string_view name) {
  const auto damaged = [&](std::string_view what) {
    return absl::DataLossError(absl::StrCat(
        std::string(name), ": expected a history of watched data, but ",
        std::string(what), "; move the file away to begin anew"));
  };
  const Json document = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object() || document.value("version", Json()) != kVersion ||
      !document.contains("batches") || !document["batches"].is_array()) {
    return damaged("it is none of version 1");
  }
  WatchHistory history;
  for (const Json& entry : document["batches"]) {
    if (!entry.is_object() || !entry.value("digest", Json()).is_string() ||
        !entry.value("records", Json()).is_number_unsigned() ||
        !entry.value("acknowledged", Json()).is_boolean() ||
        !IsDeviates(entry.value("deviates", Json()))) {
      return damaged(
          absl::StrCat("batch ", history.batches_.size(), " is incomplete"));
    }
    Batch batch;
    const auto digest = Digest::FromHex(entry["digest"].get<std::string>());
    if (!digest.ok()) return damaged("a digest is none");
    batch.digest = *digest;
    batch.records = entry["records"].get<int64_t>();
    batch.acknowledged = entry["acknowledged"].get<bool>();
    entry["deviates"].get_to(batch.deviates);
    history.batches_.push_back(std::move(batch));
  }
  return history;
}

std::string WatchHistory::Encode() const {
  Json batches = Json::array();
  for (const Batch& batch : batches_) {
    batches.push_back({{"digest", batch.digest.Hex()},
                       {"records", batch.records},
                       {"acknowledged", batch.acknowledged},
                       {"deviates", batch.deviates}});
  }
  return Json({{"version", kVersion}, {"batches", batches}}).dump(1) + "\n";
}

absl::StatusOr<bool> WatchHistory::Add(const Digest& batch, int64_t records,
                                       const WatchReport& report) {
  for (const Batch& known : batches_) {
    if (known.digest == batch) return false;
  }
  if (batches_.size() >= kWatchHistoryMax) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the history has ", kWatchHistoryMax, " batches: move its file away"));
  }
  batches_.push_back({batch, records, false, DeviatesOf(report)});
  return true;
}

void WatchHistory::Acknowledge() {
  if (!batches_.empty()) batches_.back().acknowledged = true;
}

std::vector<WatchChart> WatchHistory::Charts() const {
  static const double threshold = Threshold();
  std::vector<WatchChart> charts;
  for (std::string_view name : WatchCharts()) {
    // Batches that become more alike are no reason for an alarm.
    Cusum cusum(threshold, std::numeric_limits<double>::infinity(), 1);
    for (const Batch& batch : batches_) {
      const auto deviate = batch.deviates.find(std::string(name));
      if (deviate != batch.deviates.end()) cusum.Add(deviate->second);
      if (batch.acknowledged) cusum.Acknowledge();
    }
    charts.push_back(
        {name, cusum.values(), cusum.high(), threshold, cusum.alarmed()});
  }
  return charts;
}

}  // namespace fedgraft
