#include "aggregator/shift/remedy_choice.h"

#include <vector>

#include "aggregator/shift/shift_report.h"
#include "aggregator/shift/triage.h"
#include "common/shift/sketch_layout.h"

namespace fedgraft {
namespace {

SiteRemedy RemedyFor(ShiftRemedy recommended) {
  switch (recommended) {
    case ShiftRemedy::kNone:
    case ShiftRemedy::kReview:
      return SiteRemedy::kNone;
    case ShiftRemedy::kNormalization:
      return SiteRemedy::kImportanceWeights;
    case ShiftRemedy::kPriorCorrection:
      return SiteRemedy::kPriorCorrection;
    case ShiftRemedy::kPersonalHead:
      return SiteRemedy::kPersonalModel;
  }
  return SiteRemedy::kNone;
}

}  // namespace

std::optional<std::map<std::string, RemedyChoice>> ChooseRemedies(
    const Plan& plan,
    const std::map<std::string, std::map<std::string, double>>& sites) {
  std::map<std::string, RemedyChoice> choices;
  std::vector<std::string> notes;
  const auto cells =
      ShiftCells(sites, ShiftReportOptions().false_discovery_rate, "", notes);
  if (!cells.ok() || cells->size() < kSketchSitesMin) return std::nullopt;
  for (const auto& [site, of_site] : *cells) {
    const ShiftRemedy recommended = TriageSite(of_site).remedy;
    if (recommended == ShiftRemedy::kNone) continue;
    RemedyChoice choice;
    choice.remedy = RemedyFor(recommended);
    choice.obstacle = choice.remedy == SiteRemedy::kNone
                          ? RemedyObstacle::kPeopleFirst
                          : ObstacleTo(choice.remedy, plan);
    choices.emplace(site, choice);
  }
  return choices;
}

}  // namespace fedgraft
