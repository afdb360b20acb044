#pragma once

#include <map>
#include <string>

#include "aggregator/shift/shift_report.h"

namespace fedgraft {

// What a site's cells of one round say, in words.
//
// concept    concept_score differs: it is blind to the other two.
// label      label_score differs, or label_profiled if there is concept shift,
//            under which pooled slopes say little about intercepts.
// covariate  covariate_mmd or an acquisition test differs; if there is label
//            shift, which moves both, only covariate_adjusted tells.
SiteTriage TriageSite(const std::map<std::string, ShiftCell>& cells);

}  // namespace fedgraft
