#include "common/solve/transfer_metrics.h"

#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/solve/solve_statistics.h"
#include "common/transfer/transferability.h"

namespace fedgraft {
namespace {

using Sums = absl::Span<const double>;

Sums PartOf(Sums sums, const SolveLayout::Part& part) {
  return sums.subspan(part.begin, part.count);
}

// f = mean + width z of the features as they are.
struct Origin {
  std::vector<double> mean, width;
};

Origin OriginOf(const SolvePoint& point) {
  Origin origin;
  if (point.mean.empty()) {
    origin.mean.assign(point.feature_dim, 0.0);
    origin.width.assign(point.feature_dim, 1.0);
    return origin;
  }
  origin.mean = point.mean;
  for (double scale : point.scale) {
    origin.width.push_back(scale > 0 ? 1 / scale : 0.0);
  }
  return origin;
}

// Σ f over `n` records from their Σ z.
void PutSum(const Origin& origin, double n, Sums z, double* out) {
  for (size_t j = 0; j < z.size(); ++j) {
    out[j] = n * origin.mean[j] + origin.width[j] * z[j];
  }
}

// Σ f fᵀ from Σ z zᵀ and Σ z, both packed.
void PutProducts(const Origin& origin, double n, Sums z, Sums zz, double* out) {
  const size_t dim = z.size();
  const double* from = zz.data();
  for (size_t i = 0; i < dim; ++i) {
    for (size_t j = i; j < dim; ++j) {
      const double mixed = origin.width[i] * origin.mean[j] * z[i] +
                           origin.width[j] * origin.mean[i] * z[j];
      *out++ = n * origin.mean[i] * origin.mean[j] + mixed +
               origin.width[i] * origin.width[j] * *from++;
    }
  }
}

void PutDefined(const std::string& name, const absl::StatusOr<double>& value,
                std::map<std::string, double>& metrics) {
  if (value.ok() && std::isfinite(*value)) metrics[name] = *value;
}

}  // namespace

absl::StatusOr<FeatureMoments> MomentsOfCross(const SolvePoint& point,
                                              Sums sums) {
  FG_CHECK(point.stage == SolveStage::kCross);
  const SolveLayout from(point);
  FG_CHECK(static_cast<int64_t>(sums.size()) == from.count());
  if (point.per_site) {
    return absl::FailedPreconditionError(
        "the sums are of features that each site normalises by itself");
  }
  FG_ASSIGN_OR_RETURN(
      const FeatureMomentsLayout to,
      FeatureMomentsLayout::Create(point.feature_dim, point.classes));
  const Origin origin = OriginOf(point);
  const double n = sums[from.records.begin];
  const Sums z = PartOf(sums, from.feature_sums);
  std::vector<double> moments(to.Count());
  moments[0] = n;
  PutSum(origin, n, z, moments.data() + to.SumIndex());
  for (int c = 0; c < point.classes; ++c) {
    const double count = sums[from.class_counts.begin + c];
    moments[to.ClassCountIndex(c)] = count;
    PutSum(origin, count,
           PartOf(sums, from.cross)
               .subspan(c * point.feature_dim, point.feature_dim),
           moments.data() + to.ClassSumIndex(c));
  }
  PutProducts(origin, n, z, PartOf(sums, from.gram),
              moments.data() + to.ProductIndex());
  return FeatureMoments::WithoutNorms(to, std::move(moments));
}

std::map<std::string, double> TransferMetrics(const SolvePoint& point,
                                              Sums sums) {
  std::map<std::string, double> metrics;
  if (point.stage != SolveStage::kCross || point.per_site ||
      point.feature_dim > kMeasuredFeaturesMax) {
    return metrics;
  }
  const absl::StatusOr<FeatureMoments> moments = MomentsOfCross(point, sums);
  if (!moments.ok()) return metrics;
  metrics["transfer_records"] = moments->n();
  metrics["transfer_features"] = static_cast<double>(point.feature_dim);
  PutDefined("transfer_log_me", LogMe(*moments), metrics);
  PutDefined("transfer_h_score", PlainHScore(*moments), metrics);
  PutDefined("transfer_effective_dimension", EffectiveDimension(*moments),
             metrics);
  return metrics;
}

}  // namespace fedgraft
