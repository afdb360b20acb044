#include "aggregator/shift/shift_report.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregator/shift/shift_charts.h"
#include "aggregator/shift/triage.h"
#include "common/base/status_macros.h"
#include "common/shift/multiplicity.h"
#include "common/shift/sketch_layout.h"

namespace fedgraft {
namespace {

using Scalars = std::map<std::string, double>;
using Cells = std::map<std::string, ShiftCell>;

std::optional<double> Find(const Scalars& scalars, const std::string& name) {
  const auto value = scalars.find(name);
  if (value == scalars.end() || !std::isfinite(value->second)) {
    return std::nullopt;
  }
  return value->second;
}

bool IsProbability(double p) { return p >= 0 && p <= 1; }

Cells CellsOf(const Scalars& scalars, const std::string& where,
              std::vector<std::string>& notes) {
  Cells cells;
  for (const ShiftTestSpec& test : ShiftTests()) {
    const auto raw = scalars.find(ShiftScalar(test.name, "p"));
    if (raw == scalars.end()) continue;
    if (!IsProbability(raw->second)) {
      notes.push_back(absl::StrCat(where, ": ", raw->first, " is ", raw->second,
                                   ", which is no p-value; left out."));
      continue;
    }
    ShiftCell cell;
    const auto field = [&](std::string_view name) {
      return Find(scalars, ShiftScalar(test.name, name)).value_or(0);
    };
    cell.p = raw->second;
    cell.adjusted = cell.p;
    cell.statistic = field("statistic");
    cell.dof = field("dof");
    cell.effect = field("effect");
    cells.emplace(test.name, cell);
  }
  return cells;
}

// Over the decisive tests of all sites of one round.
absl::Status Adjust(double rate, std::map<std::string, Cells>& sites) {
  std::vector<ShiftCell*> decisive;
  std::vector<double> p;
  for (auto& [site, cells] : sites) {
    for (auto& [test, cell] : cells) {
      if (!FindShiftTest(test)->decisive) continue;
      decisive.push_back(&cell);
      p.push_back(cell.p);
    }
  }
  FG_ASSIGN_OR_RETURN(const std::vector<double> adjusted, AdjustPValues(p));
  for (size_t i = 0; i < decisive.size(); ++i) {
    decisive[i]->adjusted = adjusted[i];
    decisive[i]->differs = adjusted[i] <= rate;
  }
  return absl::OkStatus();
}

std::vector<ShiftPrior> PriorsOf(const Scalars& scalars,
                                 const std::vector<std::string>& class_names) {
  std::vector<ShiftPrior> priors;
  for (int c = 0;; ++c) {
    const std::string name = PriorScalar(c);
    const auto prior = Find(scalars, name);
    const auto low = Find(scalars, name + ".low");
    const auto high = Find(scalars, name + ".high");
    if (!prior || !low || !high) return priors;
    const size_t index = priors.size();
    priors.push_back(
        {index < class_names.size() ? class_names[index] : absl::StrCat(c),
         *prior, *low, *high,
         Find(scalars, ShiftScalar("reference", std::to_string(c)))
             .value_or(0)});
  }
}

std::string TransferWords(const SiteTransfer& transfer) {
  switch (transfer.verdict) {
    case TransferVerdict::kHelps:
      return absl::StrFormat(
          "The federated model is better here than a local one, by %.3f.",
          transfer.delta);
    case TransferVerdict::kHarms:
      return absl::StrFormat(
          "A local model is better here than the federated one, by %.3f: "
          "negative transfer. A personal head, or none of the federation's "
          "updates, is better for this site.",
          -transfer.delta);
    case TransferVerdict::kNoDifference:
      return "Neither model is better beyond chance.";
  }
  return "";
}

// Of all sites of one round; a verdict needs its interval and the adjusted p.
absl::Status AddTransfers(uint32_t round,
                          const std::map<std::string, Scalars>& sites,
                          ShiftReport& report) {
  std::vector<SiteTransfer> found;
  std::vector<double> p;
  for (const auto& [site, scalars] : sites) {
    const std::string prefix(kTransferPrefix);
    const auto delta = Find(scalars, prefix + "delta");
    const auto low = Find(scalars, prefix + "low");
    const auto high = Find(scalars, prefix + "high");
    const auto value = Find(scalars, prefix + "p");
    if (!delta || !low || !high || !value) continue;
    if (!IsProbability(*value) || !(*low <= *high)) {
      report.notes.push_back(absl::StrCat(
          "Round ", round, ", site ", site,
          ": the comparison with a local model is no interval; left out."));
      continue;
    }
    SiteTransfer transfer;
    transfer.round = round;
    transfer.site = site;
    transfer.delta = *delta;
    transfer.low = *low;
    transfer.high = *high;
    transfer.p = *value;
    p.push_back(*value);
    found.push_back(std::move(transfer));
  }
  FG_ASSIGN_OR_RETURN(const std::vector<double> adjusted, AdjustPValues(p));
  for (size_t i = 0; i < found.size(); ++i) {
    found[i].adjusted = adjusted[i];
    if (adjusted[i] <= report.false_discovery_rate) {
      found[i].verdict = VerdictOfInterval(found[i].low, found[i].high);
    }
    found[i].words = TransferWords(found[i]);
    report.transfer.push_back(std::move(found[i]));
  }
  return absl::OkStatus();
}

// What was chosen for the site, kept beside its scalars.
void TakeChoice(const Scalars& scalars, SiteTriage& triage) {
  const auto remedy = Find(scalars, std::string(kChosenRemedy));
  const auto obstacle = Find(scalars, std::string(kChosenObstacle));
  if (!remedy || !obstacle) return;
  triage.obstacle = static_cast<RemedyObstacle>(static_cast<int>(*obstacle));
  if (triage.obstacle == RemedyObstacle::kNone) {
    triage.applied = static_cast<SiteRemedy>(static_cast<int>(*remedy));
  }
}

absl::Status AddRound(uint32_t round,
                      const std::map<std::string, Scalars>& sites,
                      ShiftReport& report) {
  FG_ASSIGN_OR_RETURN(
      auto cells,
      ShiftCells(sites, report.false_discovery_rate,
                 absl::StrCat("Round ", round, ", "), report.notes));
  FG_RETURN_IF_ERROR(AddTransfers(round, sites, report));
  if (cells.empty()) return absl::OkStatus();
  if (cells.size() < kSketchSitesMin) {
    report.notes.push_back(absl::StrCat(
        "Round ", round, ": ", cells.size(), " of at least ", kSketchSitesMin,
        " sites that a comparison needs released results."));
  }
  for (const auto& [site, of_site] : cells) {
    SiteTriage triage = TriageSite(of_site);
    triage.round = round;
    triage.site = site;
    TakeChoice(sites.at(site), triage);
    report.triage.push_back(std::move(triage));
    std::vector<ShiftPrior> priors =
        PriorsOf(sites.at(site), report.class_names);
    if (!priors.empty()) report.priors[round][site] = std::move(priors);
  }
  report.rounds.push_back(round);
  report.cells.emplace(round, std::move(cells));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::map<std::string, Cells>> ShiftCells(
    const std::map<std::string, Scalars>& sites, double false_discovery_rate,
    const std::string& where, std::vector<std::string>& notes) {
  std::map<std::string, Cells> cells;
  for (const auto& [site, scalars] : sites) {
    Cells of_site = CellsOf(scalars, absl::StrCat(where, "site ", site), notes);
    if (!of_site.empty()) cells.emplace(site, std::move(of_site));
  }
  FG_RETURN_IF_ERROR(Adjust(false_discovery_rate, cells));
  return cells;
}

absl::StatusOr<ShiftReport> MakeShiftReport(const ShiftHistory& history,
                                            const ShiftReportOptions& options) {
  for (double rate : {options.false_discovery_rate, options.false_alarm_rate}) {
    if (!(rate > 0 && rate < 1)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "shift report: expected rates between 0 and 1, not ", rate));
    }
  }
  ShiftReport report;
  report.false_discovery_rate = options.false_discovery_rate;
  report.false_alarm_rate = options.false_alarm_rate;
  report.class_names = options.class_names;
  for (const auto& [round, sites] : history) {
    FG_RETURN_IF_ERROR(AddRound(round, sites, report));
  }
  std::set<std::string> sites;
  for (const auto& [round, cells] : report.cells) {
    for (const auto& [site, of_site] : cells) sites.insert(site);
  }
  for (const SiteTransfer& transfer : report.transfer) {
    sites.insert(transfer.site);
  }
  report.sites.assign(sites.begin(), sites.end());
  report.rounds_planned =
      std::max(options.rounds, static_cast<uint32_t>(report.rounds.size()));
  FG_RETURN_IF_ERROR(AddCharts(history, options, report));
  if (report.rounds.empty()) {
    report.notes.push_back(absl::StrCat(
        "No site released results of shift tests. They need at least ",
        kSketchSitesMin, " sites of ", kSketchRecordsMin,
        " records, and policies that let site scalars out."));
  }
  return report;
}

}  // namespace fedgraft
