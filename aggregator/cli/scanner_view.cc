#include "aggregator/cli/scanner_view.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregator/cli/text_table.h"
#include "aggregator/web/scanner_summary.h"

namespace fedgraft {

std::string RenderScanners(const pb::StatusReply& status) {
  const ScannerSummary summary = NewestScanners(status);
  if (summary.counts.empty() || !(summary.records > 0)) return "";
  std::vector<TableRow> rows = {{"manufacturer", "images", "share"}};
  for (const ScannerCount& count : summary.counts) {
    rows.push_back(
        {count.title, absl::StrFormat("%.0f", count.records),
         absl::StrFormat("%.1f %%", 100 * count.records / summary.records)});
  }
  return absl::StrCat(
      "\nScanners of all sites, round ", summary.round,
      " (training images, as DICOM files and policies tell)\n", TextTable(rows),
      "Hospitals normally have different ones; where a verdict names covariate "
      "shift and a\n  site's images come from other scanners, that explains "
      "it.\n");
}

}  // namespace fedgraft
