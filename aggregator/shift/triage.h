#pragma once

#include <map>
#include <string>

#include "aggregator/shift/shift_report.h"

namespace fedgraft {

// What a site's cells of one round say, in words. Whether the site differs at
// all is for the decisive tests, corrected for their number; then how, each
// kind by a test that is blind to the others, uncorrected:
//
// concept    concept_score.
// label      label_score. Where reading differs, it moves intercepts, too: then
//            label_em, by which the features speak of other shares; and if
//            there is covariate shift, which moves that, label_profiled as
//            well.
// covariate  covariate_adjusted, which asks what other shares of the classes
//            leave unexplained; or an acquisition test that differs without
//            label shift, which would move brightness, too.
//
// Where none speaks up, it is the kind, label or covariate, whose absence is
// the less likely.
// The adjusted test rejects less often than it says, the score of slopes more
// often far out.
inline constexpr double kCovariateP = 0.035, kLabelP = 0.015, kConceptP = 0.01;
// At or below, other scanners are named as what explains covariate shift. They
// decide nothing: hospitals have different ones.
inline constexpr double kScannersP = 0.01;
SiteTriage TriageSite(const std::map<std::string, ShiftCell>& cells);

}  // namespace fedgraft
