#pragma once

#include <cstdint>

// Rényi differential privacy of the Poisson-subsampled Gaussian mechanism: each
// record takes part with probability `rate`, independently; the sum of their
// values, each of L2 norm at most C, is released with Gaussian noise of
// standard deviation noise_multiplier * C. Neighbours differ in one record that
// is there or not.

namespace fedgraft {

// Of one release, at `order` > 1, integer or not. (Mironov, Talwar and Zhang,
// "Rényi Differential Privacy of the Sampled Gaussian Mechanism", 2019,
// section 3.3; for fractional orders the binomials alternate in sign.)
// REQUIRES: 0 <= rate <= 1, noise_multiplier > 0, order > 1. Infinity where a
// double cannot hold it.
double SampledGaussianRdp(double rate, double noise_multiplier, double order);

}  // namespace fedgraft
