#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "common/config/plan.h"
#include "common/privacy/distributed_gaussian.h"

namespace fedgraft {

// How a plan with site privacy turns a clipped update into noisy ring words.
// A value becomes the nearest multiple of 2^shift steps of the ring (one unit),
// and discrete Gaussian noise in the same units is added. Each site adds the
// quorum's share of the noise, so that the noise of a quorum has a standard
// deviation of noise_multiplier * clip_norm.
//
// Rounding to nearest makes a vector longer by at most half the root of its
// dimension; norm2_max allows for that and is enforced on the integers, so
// that what floating point did before has no part in the guarantee.
struct SiteNoise {
  int shift = 0;
  double norm2_max = 0;  // largest squared L2 norm in units
  uint64_t sigma2 = 1;   // of one site's noise, in units

  // Length of a unit, given the ring's step.
  double Unit(double ring_step) const;
};

// INVALID_ARGUMENT: not a plan with site privacy and a clip norm, no
// parameters, or noise that does not fit the ring (the checks of a plan see to
// that).
absl::StatusOr<SiteNoise> MakeSiteNoise(const Plan& plan, int64_t parameters);

// The sum in which `contributions` sites' noise is secret: all of a quorum
// for who sees only the sum, 1 for who sees each update.
DistributedGaussian SumOf(const SiteNoise& noise, int64_t parameters,
                          int contributions);

// Largest L2 norm that an honest site's noisy update has, in units of the
// parameters: exceeded once in 1e21 updates. `ring_step`: of the plan's ring.
double NoisyNormMax(const SiteNoise& noise, double ring_step,
                    int64_t parameters);

}  // namespace fedgraft
