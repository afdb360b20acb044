#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregator/shift/shift_json.h"

namespace fedgraft {
namespace {

// Columns as wide as their widest cell.
std::string Aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      const bool is_last = i + 1 == row.size();
      absl::StrAppend(&text, row[i]);
      if (!is_last) text.append(widths[i] - row[i].size() + 2, ' ');
    }
    text += '\n';
  }
  return text;
}

std::string PValue(const std::map<std::string, ShiftCell>& cells,
                   std::string_view test) {
  const auto cell = cells.find(std::string(test));
  if (cell == cells.end()) return "-";
  return absl::StrFormat("%.2g%s", cell->second.adjusted,
                         cell->second.differs ? " *" : "");
}

// What a plan with on_shift apply makes of it.
std::string Applied(const SiteTriage& triage) {
  if (triage.obstacle != RemedyObstacle::kNone) {
    return absl::StrCat(
        "  Not applied: ", std::string(RemedyObstacleWords(triage.obstacle)),
        ".\n");
  }
  if (triage.applied == SiteRemedy::kNone) return "";
  return absl::StrCat("  Applied from the next round on: ",
                      std::string(SiteRemedyName(triage.applied)), ".\n");
}

std::string Verdicts(const ShiftReport& report) {
  if (report.rounds.empty()) return "";
  const uint32_t round = report.rounds.back();
  std::vector<std::vector<std::string>> rows;
  rows.push_back({"site", "verdict", "features", "base rate", "reading"});
  std::string advice;
  for (const SiteTriage& triage : report.triage) {
    if (triage.round != round) continue;
    const auto& cells = report.cells.at(round).at(triage.site);
    rows.push_back({triage.site, triage.verdict, PValue(cells, "covariate_mmd"),
                    PValue(cells, "label_score"),
                    PValue(cells, "concept_score")});
    if (triage.kinds.empty()) continue;
    absl::StrAppend(&advice, "\n", triage.site, ": ", triage.reason, "\n  ",
                    triage.advice, "\n", Applied(triage));
  }
  return absl::StrCat(
      "Round ", round,
      ", each site against all others (p after adjustment; * differs)\n",
      Aligned(rows), advice);
}

// A site's verdicts by round, the newest first.
std::string Verdicts(const ShiftReport& report, const std::string& site) {
  std::string text;
  for (auto one = report.transfer.rbegin(); one != report.transfer.rend();
       ++one) {
    if (one->site != site) continue;
    const std::string name(TransferVerdictName(one->verdict));
    absl::StrAppend(&text, text.empty() ? "" : "; round ",
                    text.empty() ? name : absl::StrCat(one->round, ": ", name));
  }
  return text;
}

// Who gains most and who least; empty for fewer than two sites.
std::string Extremes(const std::vector<const SiteTransfer*>& sorted) {
  if (sorted.size() < 2) return "";
  return absl::StrFormat("%s gains most (%+.3f), %s least (%+.3f).\n",
                         sorted.back()->site, sorted.back()->delta,
                         sorted.front()->site, sorted.front()->delta);
}

std::string Transfers(const ShiftReport& report) {
  if (report.transfer.empty()) return "";
  const uint32_t round = report.transfer.back().round;
  std::vector<std::vector<std::string>> rows;
  rows.push_back({"site", "federated - local", "95 % interval", "verdict"});
  std::vector<const SiteTransfer*> sorted;
  for (const SiteTransfer& transfer : report.transfer) {
    if (transfer.round == round) sorted.push_back(&transfer);
  }
  // Those who lose first, as on the page.
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const SiteTransfer* a, const SiteTransfer* b) {
                     return a->delta < b->delta;
                   });
  for (const SiteTransfer* transfer : sorted) {
    rows.push_back(
        {transfer->site, absl::StrFormat("%+.3f", transfer->delta),
         absl::StrFormat("%+.3f to %+.3f", transfer->low, transfer->high),
         Verdicts(report, transfer->site)});
  }
  return absl::StrCat("\nFederated against local models, round ", round, "\n",
                      Aligned(rows), Extremes(sorted));
}

std::string Alarms(const ShiftReport& report) {
  if (report.charts.empty()) return "";
  std::string text = absl::StrFormat(
      "\nChanges over rounds (a run in which nothing changes raises an alarm "
      "with probability %.2g)\n",
      report.false_alarm_rate);
  if (report.alarms.empty()) return absl::StrCat(text, "none\n");
  for (const ShiftAlarm& alarm : report.alarms) {
    absl::StrAppend(&text, alarm.words, "\n");
  }
  return text;
}

}  // namespace

std::string ShiftReportTable(const ShiftReport& report) {
  std::string text =
      absl::StrCat(Verdicts(report), Alarms(report), Transfers(report));
  for (const std::string& note : report.notes) {
    absl::StrAppend(&text, text.empty() ? "" : "\n", note, "\n");
  }
  return text;
}

}  // namespace fedgraft
