#pragma once

#include <map>
#include <string>

#include "aggregator/shift/shift_report.h"

namespace fedgraft {

// What a site's cells of one round say, in words. Whether the site differs at
// all is for the decisive tests, corrected for their number; then how, each
// kind by a test that is blind to the others, at kAttributionP:
//
// concept    concept_score.
// label      label_score, or label_profiled if there is concept shift, under
//            which pooled slopes say little about intercepts.
// covariate  covariate_adjusted, which asks what labels leave unexplained; or
//            an acquisition test that differs without label shift, which
//            would move brightness, too.
//
// Where none speaks up, it is the kind, label or covariate, whose absence is
// the less likely.
inline constexpr double kAttributionP = 0.02;
SiteTriage TriageSite(const std::map<std::string, ShiftCell>& cells);

}  // namespace fedgraft
