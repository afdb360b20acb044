#pragma once

#include <vector>

#include "absl/status/status.h"
#include "aggregator/shift/shift_report.h"

namespace fedgraft {

// Charts need so many values before they say more than "learning".
inline constexpr int kChartBaseline = 10;
// A site that has always differed may have values that spread more than those
// of one that does not; if the first kChartBaseline of them spread by more
// than this, the chart is divided by their spread.
inline constexpr double kChartSpreadMax = 1.5;
// Of the others: deviates of sites of 60 records spread a little more than
// normal ones (1.06 for covariate_mmd).
inline constexpr double kChartSpread = 1.02;

// Fills charts and alarms from the report's cells: for each site and charted
// test the CUSUM (common/shift/cusum.h) of the normal deviates of its p-values,
// of rounds in which the site had new records only. Thresholds are solved from
// the report's false alarm rate over all sites, charts and planned rounds; of a
// chart's share, kAwayShare is for moves away from the other sites.
inline constexpr double kAwayShare = 0.9;
absl::Status AddCharts(const ShiftHistory& history,
                       const ShiftReportOptions& options, ShiftReport& report);

}  // namespace fedgraft
