#pragma once

#include <map>
#include <optional>
#include <string>

#include "common/config/plan.h"
#include "common/shift/remedies.h"

namespace fedgraft {

struct RemedyChoice {
  SiteRemedy remedy = SiteRemedy::kNone;
  // Why it is recommended and not done.
  RemedyObstacle obstacle = RemedyObstacle::kNone;
  bool operator==(const RemedyChoice&) const = default;
};

// What each site should do by what all have told of one look's tests (site ->
// name -> value), corrected for their number as in the report. Sites that do
// not differ are left out. Values that are no p-values count as not told.
// nullopt: fewer than kSketchSitesMin have told.
std::optional<std::map<std::string, RemedyChoice>> ChooseRemedies(
    const Plan& plan,
    const std::map<std::string, std::map<std::string, double>>& sites);

}  // namespace fedgraft
