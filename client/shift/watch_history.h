#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/shift/watch_data.h"
#include "common/base/digest.h"

namespace fedgraft {

// The batches of new records that a site has watched with one model, and the
// charts over them (common/shift/cusum.h): one for each of WatchCharts(), of
// the normal deviate of the least p-value of its checks (Sidak). A chart rises
// as batches become more unlike the site's own records than they used to be, so
// that it finds what no single batch shows. Together the charts raise an alarm
// within kWatchBatches batches with a probability of kWatchChartRate if nothing
// changes.
//
// Holds numbers only, nothing of any record. Not thread-safe.
inline constexpr int kWatchBatches = 100;
inline constexpr double kWatchChartRate = 0.05;
inline constexpr size_t kWatchHistoryMax = 100'000;

struct WatchChart {
  std::string_view name;
  int batches = 0;
  double value = 0;      // 0: as usual
  double threshold = 0;  // above it: alarm
  bool alarmed = false;
};

class WatchHistory {
 public:
  // DATA_LOSS naming `name`: not what Encode makes.
  static absl::StatusOr<WatchHistory> Decode(std::string_view json,
                                             std::string_view name);
  std::string Encode() const;

  // False: this batch has been here, and is not counted again.
  // RESOURCE_EXHAUSTED: kWatchHistoryMax batches.
  absl::StatusOr<bool> Add(const Digest& batch, int64_t records,
                           const WatchReport& report);
  // The change is known: charts begin anew after the newest batch.
  void Acknowledge();

  size_t batches() const { return batches_.size(); }
  std::vector<WatchChart> Charts() const;

 private:
  struct Batch {
    Digest digest;
    int64_t records = 0;
    bool acknowledged = false;
    std::map<std::string, double> deviates;  // by chart
  };
  std::vector<Batch> batches_;
};

}  // namespace fedgraft
