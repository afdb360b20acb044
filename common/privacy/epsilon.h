#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

// From Rényi differential privacy to (epsilon, delta), and back to the noise
// that a target needs.

namespace fedgraft {

// Orders at which losses are added up: 1.1 to 10.9 in steps of 0.1, then 12 to
// 63.
absl::Span<const double> RdpOrders();

struct Epsilon {
  double epsilon = 0;
  double order = 0;  // that gave it
};

// The least over the orders of rdp + ln(1 - 1/a) - (ln delta + ln a) / (a - 1),
// never below 0. (Canonne, Kamath and Steinke, "The Discrete Gaussian for
// Differential Privacy", 2020, proposition 12.) `rdp`: one for each order,
// infinity allowed. REQUIRES: as many, 0 < delta < 1, orders above 1.
Epsilon EpsilonOfRdp(absl::Span<const double> orders,
                     absl::Span<const double> rdp, double delta);
// `rdp_at` gives the whole loss at an order; at RdpOrders().
Epsilon EpsilonOf(const std::function<double(double order)>& rdp_at,
                  double delta);

// The smallest noise multiplier, to a relative 1e-6 and rounded up, with which
// `steps` releases of the sampled Gaussian mechanism stay within `epsilon` at
// `delta`. INVALID_ARGUMENT: not 0 < rate <= 1, epsilon > 0, 0 < delta < 1,
// steps >= 1; OUT_OF_RANGE: more than 1e6 would be needed.
absl::StatusOr<double> NoiseMultiplierFor(double epsilon, double delta,
                                          double rate, double steps);

}  // namespace fedgraft
