#pragma once

#include <cstdint>

namespace fedgraft {

// A sum of integer vectors to each of which its owner added discrete Gaussian
// noise. Lengths in steps of the grid. Neighbours differ in one vector, which
// is as it is or all zeros.
struct DistributedGaussian {
  double norm2_max = 0;   // largest squared L2 norm of a vector
  double sigma2 = 1;      // parameter of one owner's noise
  double dimension = 1;   // of the vectors
  int contributions = 1;  // that are in the sum, and whose noise is secret
  bool operator==(const DistributedGaussian&) const = default;
};

// Rényi loss of one such sum at `order` > 1. A sum of discrete Gaussians is not
// quite one: what that costs is in `tau`. (Kairouz, Liu and Steinke, "The
// Distributed Discrete Gaussian Mechanism for Federated Learning with Secure
// Aggregation", 2021, section 4.) REQUIRES: all fields above 0.
double DistributedGaussianRdp(const DistributedGaussian& sum, double order);

// 10 sum_{k=1}^{n-1} exp(-2 pi^2 sigma^2 k / (k + 1)).
double DistributedGaussianTau(double sigma2, int contributions);

}  // namespace fedgraft
