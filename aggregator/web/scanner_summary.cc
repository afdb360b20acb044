#include "aggregator/web/scanner_summary.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "common/shift/devices.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

// 0: a manufacturer; then the rest, at the end.
int Order(const std::string& name) {
  return name == "not_told" ? 2 : name == "other" ? 1 : 0;
}

ScannerSummary SummaryOf(const pb::RoundSummary& round) {
  ScannerSummary summary;
  summary.round = round.round();
  for (const auto& [metric, records] : round.metrics()) {
    if (!metric.starts_with(kScannerPrefix)) continue;
    summary.counts.push_back(
        {metric.substr(kScannerPrefix.size()), ScannerTitle(metric), records});
    summary.records += records;
  }
  std::sort(summary.counts.begin(), summary.counts.end(),
            [](const ScannerCount& a, const ScannerCount& b) {
              return std::make_tuple(Order(a.name), -a.records, a.name) <
                     std::make_tuple(Order(b.name), -b.records, b.name);
            });
  return summary;
}

}  // namespace

ScannerSummary NewestScanners(const pb::StatusReply& status) {
  for (int i = status.history_size() - 1; i >= 0; --i) {
    ScannerSummary summary = SummaryOf(status.history(i));
    if (!summary.counts.empty()) return summary;
  }
  return {};
}

nlohmann::json ScannersJson(const pb::StatusReply& status) {
  const ScannerSummary summary = NewestScanners(status);
  if (summary.counts.empty()) return nullptr;
  nlohmann::json counts = nlohmann::json::array();
  for (const ScannerCount& count : summary.counts) {
    counts.push_back({{"name", count.name},
                      {"title", count.title},
                      {"records", count.records}});
  }
  return {{"round", summary.round},
          {"records", summary.records},
          {"counts", std::move(counts)}};
}

}  // namespace fedgraft
