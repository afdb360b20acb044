#include "common/privacy/site_noise.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/numeric/update_payload.h"
#include "common/privacy/discrete_gaussian.h"

namespace fedgraft {

double SiteNoise::Unit(double ring_step) const {
  return std::ldexp(ring_step, shift);
}

absl::StatusOr<SiteNoise> MakeSiteNoise(const Plan& plan, int64_t parameters) {
  if (plan.differential_privacy.kind != DifferentialPrivacy::kSite ||
      !(plan.update.clip_norm > 0) || parameters < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "noise of a site expects site privacy, a clip norm above 0 and "
        "parameters; the plan has a clip norm of ",
        plan.update.clip_norm, " and ", parameters, " parameters"));
  }
  FG_ASSIGN_OR_RETURN(const RingSpec ring, TrainRing(plan));
  const double sigma = plan.differential_privacy.noise_multiplier *
                       plan.update.clip_norm /
                       std::sqrt(static_cast<double>(plan.quorum));
  const double sigma_max =
      std::sqrt(static_cast<double>(DiscreteGaussian::kSigma2Max)) / 2;
  SiteNoise noise;
  while (sigma / noise.Unit(ring.Step()) > sigma_max) ++noise.shift;
  if (noise.shift >= ring.word_bits) {
    return absl::InvalidArgumentError(absl::StrCat(
        "noise of standard deviation ", sigma, " does not fit into words of ",
        ring.word_bits, " bits with a step of ", ring.Step()));
  }
  const double unit = noise.Unit(ring.Step());
  const double norm =
      plan.update.clip_norm / unit + std::sqrt(double(parameters)) / 2;
  noise.norm2_max = norm * norm;
  const double sigma2 = (sigma / unit) * (sigma / unit);
  noise.sigma2 = sigma2 < 1 ? 1 : static_cast<uint64_t>(std::ceil(sigma2));
  return noise;
}

DistributedGaussian SumOf(const SiteNoise& noise, int64_t parameters,
                          int contributions) {
  DistributedGaussian sum;
  sum.norm2_max = noise.norm2_max;
  sum.sigma2 = static_cast<double>(noise.sigma2);
  sum.dimension = static_cast<double>(parameters);
  sum.contributions = contributions;
  return sum;
}

double NoisyNormMax(const SiteNoise& noise, double ring_step,
                    int64_t parameters) {
  // A norm of Gaussian noise is less than this above the root of its dimension.
  constexpr double kSigmasMax = 10;
  const double sigma = std::sqrt(static_cast<double>(noise.sigma2));
  const double root = std::sqrt(static_cast<double>(parameters));
  return noise.Unit(ring_step) *
         (std::sqrt(noise.norm2_max) + sigma * (root + kSigmasMax));
}

}  // namespace fedgraft
