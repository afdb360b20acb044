#include "aggregator/cli/transfer_view.h"

#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregator/cli/text_table.h"
#include "aggregator/web/transfer_summary.h"

namespace fedgraft {
namespace {

std::string MeasuresText(const std::map<std::string, double>& measures) {
  if (measures.empty()) return "";
  const std::string features = NumberIn(measures, "features", 0);
  std::string text = absl::StrCat(
      "\nTransfer: how well the frozen features suit the task, before any "
      "training\n(",
      features, " features as the backbone makes them, not normalised; ",
      NumberIn(measures, "records", 0), " training records of all sites)\n");
  absl::StrAppend(
      &text,
      TextTable({{"LogME", NumberIn(measures, "log_me", 4)},
                 {"H-score", NumberIn(measures, "h_score", 4)},
                 {"effective dimension",
                  NumberIn(measures, "effective_dimension", 1)}}),
      "LogME has no scale of its own: compare backbones on the same records, "
      "higher is\n  better.\n"
      "H-score is normally between 0 and the number of classes less 1, higher "
      "is better;\n  with no more records than features it is at the top "
      "whatever the labels.\n"
      "Effective dimension is normally a few per cent of the features; near 1 "
      "they all tell\n  the same.\n");
  return text;
}

std::string AlignmentText(const pb::StatusReply& status) {
  const auto sites = AlignmentBySite(status);
  if (sites.empty()) return "";
  std::vector<TableRow> rows = {{"site", "mean cos2", "z"}};
  for (const auto& [site, alignment] : sites) {
    rows.push_back({site, absl::StrFormat("%.4f", alignment.cos2),
                    absl::StrFormat("%.1f", alignment.z)});
  }
  return absl::StrCat(
      "\nMain directions of the features: each site's against the others' "
      "(principal angles)\n",
      TextTable(rows),
      "z counts standard deviations above random subspaces and is normally "
      "far above 3; near\n  0 the site's images vary in other ways than the "
      "others'.\n");
}

// Per site, which stages have moved.
std::string SiteDriftTable(const pb::StatusReply& status) {
  std::vector<TableRow> rows = {
      {"site", "stages moved", "largest drift", "at"}};
  for (const auto& site : status.sites()) {
    const auto drift = DriftOfSite(site);
    if (drift.empty()) continue;
    int moved = 0;
    std::string at = "-";
    double largest = 0;
    for (const auto& [stage, value] : drift) {
      if (value != 0) ++moved;
      if (!(value > largest)) continue;
      largest = value;
      at = stage;
    }
    rows.push_back({site.site(), absl::StrCat(moved, " of ", drift.size()),
                    absl::StrFormat("%.4f", largest), at});
  }
  return TextTable(rows);
}

std::string DriftText(const pb::StatusReply& status) {
  const std::vector<StageDrift> stages = DriftByStage(status);
  if (stages.empty()) return "";
  std::vector<TableRow> rows = {
      {"stage", "sites", "pooled", "mean", "least", "most"}};
  for (const StageDrift& stage : stages) {
    rows.push_back({stage.stage, absl::StrCat(stage.sites),
                    stage.pooled.has_value()
                        ? absl::StrFormat("%.4f", *stage.pooled)
                        : "-",
                    absl::StrFormat("%.4f", stage.mean),
                    absl::StrFormat("%.4f", stage.least),
                    absl::StrFormat("%.4f", stage.most)});
  }
  return absl::StrCat(
      "\nDrift of the backbone in this run (1 - CKA on each site's own "
      "images)\n",
      SiteDriftTable(status),
      "\nDrift by stage: pooled (minibatch CKA of all sites' images); mean of "
      "the sites' values,\nweighted by n, and their spread\n",
      TextTable(rows),
      "Normally exactly 0 at frozen stages and growing towards the head; 1 "
      "means that nothing\n  is left of what the stage told before. Sites far "
      "apart move for different reasons.\n");
}

}  // namespace

std::string RenderTransfer(const pb::StatusReply& status) {
  return absl::StrCat(MeasuresText(PooledTransfer(status)),
                      AlignmentText(status), DriftText(status));
}

}  // namespace fedgraft
