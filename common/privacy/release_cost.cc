#include "common/privacy/release_cost.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/privacy/sampled_gaussian.h"
#include "common/privacy/site_noise.h"

namespace fedgraft {
namespace {

// Records that one noised step is expected to draw.
uint64_t BatchOfStep(const Plan& plan) {
  return static_cast<uint64_t>(plan.batch_size) *
         static_cast<uint64_t>(plan.accumulate);
}

}  // namespace

double SamplingRate(const Plan& plan, uint64_t records) {
  FG_CHECK(records > 0);
  return std::min(1.0, static_cast<double>(BatchOfStep(plan)) /
                           static_cast<double>(records));
}

int64_t StepsPerRound(const Plan& plan, uint64_t records) {
  FG_CHECK(records > 0);
  const uint64_t batch = BatchOfStep(plan);
  const uint64_t steps = (records + batch - 1) / batch;
  return static_cast<int64_t>(steps) * plan.local_epochs;
}

absl::StatusOr<ReleaseCost> CostOfRound(const Plan& plan, uint64_t records,
                                        int64_t parameters, Observer observer) {
  ReleaseCost cost;
  cost.kind = plan.differential_privacy.kind;
  cost.noise_multiplier = plan.differential_privacy.noise_multiplier;
  switch (cost.kind) {
    case DifferentialPrivacy::kNone:
      break;
    case DifferentialPrivacy::kRecord:
      if (records == 0) {
        return absl::InvalidArgumentError(
            "record privacy depends on the number of training records; "
            "expected at least 1");
      }
      cost.rate = SamplingRate(plan, records);
      cost.steps = static_cast<double>(StepsPerRound(plan, records));
      return cost;
    case DifferentialPrivacy::kSite: {
      FG_ASSIGN_OR_RETURN(const SiteNoise noise,
                          MakeSiteNoise(plan, parameters));
      const bool sees_sums_alone =
          observer == Observer::kPublic || plan.secure_aggregation.is_on;
      cost.sum = SumOf(noise, parameters, sees_sums_alone ? plan.quorum : 1);
      return cost;
    }
  }
  return absl::InvalidArgumentError(
      "the plan has no differential privacy: no noise is added, and there is "
      "no epsilon");
}

double RdpOf(const ReleaseCost& cost, double order) {
  switch (cost.kind) {
    case DifferentialPrivacy::kNone:
      break;
    case DifferentialPrivacy::kRecord:
      return cost.steps *
             SampledGaussianRdp(cost.rate, cost.noise_multiplier, order);
    case DifferentialPrivacy::kSite:
      return DistributedGaussianRdp(cost.sum, order);
  }
  FG_CHECK(false && "a release without privacy has no cost");
  return 0;
}

Epsilon TotalEpsilon(absl::Span<const Releases> releases, double delta) {
  return EpsilonOf(
      [releases](double order) {
        double sum = 0;
        for (const Releases& release : releases) {
          if (release.count > 0) {
            sum += release.count * RdpOf(release.cost, order);
          }
        }
        return sum;
      },
      delta);
}

}  // namespace fedgraft
