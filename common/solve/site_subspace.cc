#include "common/solve/site_subspace.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/solve/transfer_metrics.h"
#include "common/transfer/subspace.h"

namespace fedgraft {
namespace {

absl::StatusOr<std::vector<double>> CovarianceOf(
    const SolvePoint& point, absl::Span<const double> sums) {
  FG_ASSIGN_OR_RETURN(const FeatureMoments moments,
                      MomentsOfCross(point, sums));
  return moments.Covariance();
}

absl::StatusOr<SubspaceAlignment> Align(const SolvePoint& point,
                                        absl::Span<const double> of_site,
                                        absl::Span<const double> total) {
  std::vector<double> others(total.begin(), total.end());
  for (size_t i = 0; i < others.size(); ++i) others[i] -= of_site[i];
  FG_ASSIGN_OR_RETURN(const std::vector<double> here,
                      CovarianceOf(point, of_site));
  FG_ASSIGN_OR_RETURN(const std::vector<double> elsewhere,
                      CovarianceOf(point, others));
  const int64_t dim = point.feature_dim;
  const int64_t rank = std::clamp<int64_t>(dim / 4, 1, kAlignedDirectionsMax);
  return AlignSubspaces({here, dim, dim}, {elsewhere, dim, dim}, rank);
}

}  // namespace

std::map<std::string, double> AlignSite(const SolvePoint& point,
                                        const SiteId& site,
                                        absl::Span<const double> of_site,
                                        absl::Span<const double> total) {
  std::map<std::string, double> metrics;
  if (point.stage != SolveStage::kCross || point.per_site ||
      point.feature_dim > kAlignedFeaturesMax) {
    return metrics;
  }
  FG_CHECK(of_site.size() == total.size());
  const absl::StatusOr<SubspaceAlignment> alignment =
      Align(point, of_site, total);
  if (!alignment.ok()) return metrics;
  metrics[absl::StrCat("subspace_cos2_", site.value)] = alignment->mean_cos2;
  metrics[absl::StrCat("subspace_z_", site.value)] = alignment->z;
  return metrics;
}

}  // namespace fedgraft
