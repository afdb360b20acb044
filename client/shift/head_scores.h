#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "client/shift/site_view.h"
#include "common/shift/efficient_score.h"

// Score tests of one head for a site and all others, on the site's labels: as
// common/shift/efficient_score.h, but at a head that is fitted to both, in few
// directions, for sites with few records, and among the classes that the site
// has.

namespace fedgraft {

// Classes with fewer records at the site are left out: the head is then that
// of the labels given that they are among the others (conditional likelihood).
inline constexpr int kHeadClassRecordsMin = 5;
// Records for each slope that is tested or fitted. Directions are those of the
// head's own slopes first, along which a changed reading shows most.
inline constexpr double kHeadRecordsPerSlope = 10;

// Intercepts, with one set of slopes. Takes classes without records, too.
absl::StatusOr<ScoreTest> TestIntercepts(const SiteView& view);
// Intercepts, with the slopes fitted to the site.
absl::StatusOr<ScoreTest> TestInterceptsProfiled(const SiteView& view);
// Slopes, with the intercepts fitted to the site.
absl::StatusOr<ScoreTest> TestSlopes(const SiteView& view);
// All: FAILED_PRECONDITION if the others leave their head open, the site has
// too few records or classes, or its features do not vary.

}  // namespace fedgraft
