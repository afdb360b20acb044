#pragma once

#include "absl/status/statusor.h"

// The Gaussian mechanism, exactly. (Balle and Wang, "Improving the Gaussian
// Mechanism for Differential Privacy: Analytical Calibration and Optimal
// Denoising", 2018, theorem 8.)

namespace fedgraft {

// The smallest delta with which noise of standard deviation
// `noise_multiplier` times the sensitivity is (epsilon, delta)-private.
// REQUIRES: noise_multiplier > 0, epsilon >= 0.
double GaussianDelta(double noise_multiplier, double epsilon);

// The smallest noise multiplier for (epsilon, delta), to a relative 1e-10.
// INVALID_ARGUMENT: not epsilon > 0 and 0 < delta < 1.
absl::StatusOr<double> GaussianNoiseMultiplier(double epsilon, double delta);

}  // namespace fedgraft
