#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/types/span.h"
#include "common/base/ids.h"
#include "common/solve/solve_point.h"

// Whether one site's features vary in the same directions as those of the other
// sites: principal angles between the first eigenvectors of the two covariance
// matrices (common/transfer/subspace.h), from the sums of a least-squares head.
// For an aggregator that sees each site's sums.

namespace fedgraft {

// More features or sites cost minutes.
inline constexpr int64_t kAlignedFeaturesMax = 1280;
inline constexpr int kAlignedSitesMax = 16;
// Directions: a quarter of the features, at most this many.
inline constexpr int64_t kAlignedDirectionsMax = 8;

// By name, of the features as the backbone makes them:
//   subspace_cos2_<site>  mean squared cosine, 0 (orthogonal) to 1 (the same)
//   subspace_z_<site>     deviations above that of a random subspace
// `total`: sums of all sites, this one included. Empty: another stage than
// kCross, features that each site normalises by itself, more than
// kAlignedFeaturesMax, or a subspace that is not defined (a site of few
// records).
// REQUIRES: as many sums as the point's layout has, in both.
std::map<std::string, double> AlignSite(const SolvePoint& point,
                                        const SiteId& site,
                                        absl::Span<const double> of_site,
                                        absl::Span<const double> total);

}  // namespace fedgraft
